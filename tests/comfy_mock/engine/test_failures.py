"""The words of `execution_error` (protocol 5.11)."""

from __future__ import annotations

import pytest

from comfy_mock.engine.failures import NodeFailed, describe
from comfy_mock.engine.nodes.api import NodeError


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "type_name", "message"),
    [
        (ValueError("boom"), "ValueError", "boom\n"),
        (KeyError("a"), "KeyError", "'a'\n"),
        (ValueError(), "ValueError", "\n"),
        (OwnError("x"), f"{__name__}.OwnError", "x\n"),
        (NodeError("av.error.InvalidDataError", "bad"), "av.error.InvalidDataError", "bad\n"),
    ],
)
def test_types_and_messages(error: Exception, type_name: str, message: str) -> None:
    failure = describe(error, "7")
    assert (failure.node_id, failure.type_name, failure.message) == ("7", type_name, message)
    assert failure.current_inputs == {}
    assert failure.traceback
    assert all(isinstance(line, str) for line in failure.traceback)


def test_a_node_tells_which_it_was_and_what_it_was_given() -> None:
    failure = describe(NodeFailed("2", ValueError("boom"), "A", {"x": [1]}), "7")
    assert (failure.node_id, failure.message, failure.current_inputs) == ("2", "boom\n", {"x": [1]})


def test_running_out_of_memory_has_a_tip() -> None:
    failure = describe(NodeError("torch.OutOfMemoryError", "Allocation failed"), "1")
    assert failure.message == (
        "Allocation failed\nThis error means you ran out of memory on your GPU.\n\n"
        "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
    )


@pytest.mark.parametrize(
    ("class_type", "error", "has_tip"),
    [
        ("KSampler", RuntimeError("mat1 and mat2 shapes cannot be multiplied"), True),
        ("MySamplerNode", RuntimeError("mat1 and mat2 shapes cannot be multiplied"), True),
        ("VAEDecode", RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        ("KSampler", ValueError("mat1 and mat2 shapes cannot be multiplied"), False),
        ("KSampler", RuntimeError("other"), False),
    ],
)
def test_samplers_with_the_wrong_text_encoder_have_a_tip(class_type: str, error: Exception, has_tip: bool) -> None:
    message = describe(NodeFailed("1", error, class_type, {}), "1").message
    assert message.startswith(f"{error}\n")
    assert ('"*CLIP Loader" nodes' in message) == has_tip
