"""Building and editing workflows."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from comfy_client._errors import WorkflowError
from comfy_client.workflow import InvalidWorkflow, Node, Output, Workflow
from comfy_contracts.catalogue import Catalogue

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"


def text_to_image(workflow: Workflow) -> Node:
    """The default text-to-image graph; its SaveImage node."""
    nodes = workflow.nodes
    model, clip, vae = nodes.CheckpointLoaderSimple(ckpt_name=CHECKPOINT)
    sampler = nodes.KSampler(
        model=model,
        seed=5,
        steps=20,
        cfg=8.0,
        sampler_name="euler",
        scheduler="normal",
        positive=nodes.CLIPTextEncode(text="a cat", clip=clip),
        negative=nodes.CLIPTextEncode(text="", clip=clip),
        latent_image=nodes.EmptyLatentImage(width=512, height=512, batch_size=1),
        denoise=1,
    )
    return nodes.SaveImage(images=nodes.VAEDecode(samples=sampler, vae=vae), filename_prefix="ComfyUI")


def prompt(**nodes: Any) -> dict[str, Any]:
    return {node_id.removeprefix("n"): node for node_id, node in nodes.items()}


EMPTY_IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}, "_meta": {"title": "Out"}}


def test_calls_make_the_prompt_that_the_editor_exports() -> None:
    workflow = Workflow(Catalogue.packaged())
    save = text_to_image(workflow)
    save.title = "Save the cat"
    assert workflow.to_prompt() == {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "seed": 5,
                "steps": 20,
                "cfg": 8.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "positive": ["2", 0],
                "negative": ["3", 0],
                "latent_image": ["4", 0],
                "denoise": 1,
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {
            "class_type": "SaveImage",
            "inputs": {"images": ["6", 0], "filename_prefix": "ComfyUI"},
            "_meta": {"title": "Save the cat"},
        },
    }


def test_outputs_by_name_number_and_unpacking() -> None:
    loader = Workflow().nodes.CheckpointLoaderSimple(ckpt_name="any.safetensors")
    model, clip, vae = loader
    assert (loader.MODEL, loader["CLIP"], loader[2], loader[-1]) == (model, clip, vae, vae)
    assert (clip.name, clip.type, clip.slot, clip.link) == ("CLIP", "CLIP", 1, ["1", 1])
    with pytest.raises(AttributeError, match=r"has no output 'MODL'; did you mean 'MODEL'\? It has 3 outputs: 0 MODEL"):
        _ = loader.MODL
    with pytest.raises(WorkflowError, match=r"has no output 3. It has 3 outputs"):
        _ = loader[3]


def test_a_node_with_several_outputs_is_no_input() -> None:
    workflow = Workflow()
    loader = workflow.nodes.CheckpointLoaderSimple(ckpt_name="any.safetensors")
    with pytest.raises(WorkflowError, match=r"3 outputs: 0 MODEL, 1 CLIP, 2 VAE: choose one, node\[0\], node\[1\]"):
        workflow.nodes.CLIPTextEncode(text="", clip=loader)


def test_all_that_is_wrong_with_a_call_is_told_at_once_and_nothing_is_added() -> None:
    workflow = Workflow()
    _, clip, _ = workflow.nodes.CheckpointLoaderSimple(ckpt_name="any.safetensors")
    with pytest.raises(InvalidWorkflow) as caught:
        workflow.nodes.KSampler(
            model=clip, seed=-1, step=3, cfg="high", sampler_name="eulr", scheduler="normal", positive=1, denoise=2
        )
    told = {(problem.kind, problem.input_name): problem.message for problem in caught.value.problems}
    assert told == {
        ("required_input_missing", "steps"): "required input `steps` (INT) is missing",
        ("required_input_missing", "negative"): "required input `negative` (CONDITIONING) is missing",
        ("required_input_missing", "latent_image"): "required input `latent_image` (LATENT) is missing",
        ("return_type_mismatch", "model"): (
            "`model` takes MODEL, but output 1 (CLIP) of node 1 (CheckpointLoaderSimple) is CLIP; "
            "its output 0 MODEL would fit"
        ),
        ("value_smaller_than_min", "seed"): "`seed` is -1; it takes 0 to 18446744073709551615",
        ("unknown_input", "step"): (
            "there is no input `step`; did you mean 'steps'? It takes: model, seed, steps, cfg, sampler_name, "
            "scheduler, positive, negative, latent_image, denoise"
        ),
        ("invalid_input_type", "cfg"): "`cfg` takes a number, and 'high' cannot be read as one",
        ("value_not_in_list", "sampler_name"): (
            "`sampler_name` is 'eulr'; that is none of its 44 choices; did you mean 'euler' or 'heun' or "
            "'euler_cfg_pp'?"
        ),
        ("constant_for_link", "positive"): "`positive` takes the output of another node, of type CONDITIONING, not 1",
        ("value_bigger_than_max", "denoise"): "`denoise` is 2.0; it takes 0.0 to 1.0",
    }
    assert str(caught.value).startswith("node 2 (KSampler): ")
    assert len(workflow) == 1
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


def test_an_unknown_class_has_its_nearest_named() -> None:
    with pytest.raises(WorkflowError, match=r"no class 'KSamplr'; did you mean 'KSampler'.*custom nodes.*check=False"):
        Workflow().nodes.KSamplr(model=1)
    with pytest.raises(WorkflowError) as caught:
        Workflow(Catalogue.packaged()).nodes.KSamplr(model=1)
    assert "custom nodes" not in str(caught.value)


def test_classes_with_any_name_and_inputs_with_any_name() -> None:
    entries = {
        "My Node+": {
            "input": {"required": {"in": ["INT", {}], "a b": ["INT", {}]}},
            "output": ["INT"],
            "output_node": True,
        }
    }
    workflow = Workflow(entries)
    node = workflow.nodes["My Node+"]({"in": 1, "a b": 2})
    assert workflow.to_prompt() == {"1": {"class_type": "My Node+", "inputs": {"in": 1, "a b": 2}}}
    assert node.INT.link == ["1", 0]
    assert list(workflow.nodes) == ["My Node+"]
    assert "KSampler" not in workflow.nodes


def test_classes_that_only_the_server_knows_can_be_added_unchecked() -> None:
    workflow = Workflow()
    custom = workflow.add("SomeoneElses", {"strength": 3}, title="Custom", node_id="c", check=False)
    workflow.nodes.SaveImage(images=custom[1], filename_prefix="x")
    assert [problem.consequence for problem in workflow.problems()] == ["unsure"]
    assert workflow.to_prompt()["c"] == {
        "class_type": "SomeoneElses",
        "inputs": {"strength": 3},
        "_meta": {"title": "Custom"},
    }
    with pytest.raises(WorkflowError, match=r"its class is not in the catalogue: choose one by number"):
        list(custom)
    known_to_be_missing = Workflow.from_dict(workflow.to_prompt(), Catalogue.packaged())
    with pytest.raises(InvalidWorkflow, match=r"node c .SomeoneElses 'Custom'.: there is no class 'SomeoneElses'"):
        known_to_be_missing.check()


def test_models_of_the_server_are_checked_only_with_its_own_catalogue() -> None:
    Workflow().nodes.CheckpointLoaderSimple(ckpt_name="mine.safetensors")
    Workflow().nodes.VAELoader(vae_name="mine.safetensors")
    with pytest.raises(InvalidWorkflow, match=r"`ckpt_name` is 'mine.safetensors'; it takes one of 'v1-5-pruned"):
        Workflow(Catalogue.packaged()).nodes.CheckpointLoaderSimple(ckpt_name="mine.safetensors")


def test_a_file_is_looked_for_on_the_servers_disk_not_in_its_list() -> None:
    # Protocol 3.10: LoadImage takes sub-folders and `[output]`, which no list has.
    Workflow(Catalogue.packaged()).nodes.LoadImage(image="sub/x.png [output]")
    with pytest.raises(InvalidWorkflow, match=r"`image` takes a file's name, not 5"):
        Workflow(Catalogue.packaged()).nodes.LoadImage(image=5)


def test_choices_of_custom_nodes_are_left_to_the_server() -> None:
    entry = {"input": {"required": {"mode": [["a", "b"], {}]}}, "output": [], "output_node": True}
    core = Workflow({"C": entry})
    with pytest.raises(InvalidWorkflow, match=r"`mode` is 'c'; it takes one of 'a', 'b'"):
        core.nodes.C(mode="c")
    custom = Workflow({"C": {**entry, "python_module": "custom_nodes.pack"}})
    custom.nodes.C(mode="c")
    assert [(problem.kind, problem.consequence) for problem in custom.problems()] == [("value_not_in_list", "unsure")]


def test_rows_of_equal_inputs() -> None:
    workflow = Workflow()
    image = workflow.nodes.EmptyImage(width=8, height=8, batch_size=1, color=0)
    batch = workflow.nodes.BatchImagesNode(images=[image, image.IMAGE])
    assert dict(batch.inputs) == {"images.image0": image.IMAGE, "images.image1": image.IMAGE}
    named = workflow.nodes.StringFormat({"values": {"b": "x"}, "f_string": "{b}"})
    assert named.inputs["values.b"] == "x"
    listed = workflow.nodes.StringFormat(values=["x", "y"], f_string="{a}{b}")
    assert dict(listed.inputs) == {"values.a": "x", "values.b": "y", "f_string": "{a}{b}"}
    with pytest.raises(InvalidWorkflow, match=r"`images` is a row of up to 50 inputs, .*image49`, and is given 51"):
        workflow.nodes.BatchImagesNode(images=[image] * 51)
    with pytest.raises(InvalidWorkflow, match=r"required input `images.image0`"):
        workflow.nodes.BatchImagesNode()
    with pytest.raises(InvalidWorkflow, match=r"`images` is given 2 links; it takes one"):
        workflow.nodes.SaveImage(images=[image, image], filename_prefix="x")


def test_choices_that_bring_inputs() -> None:
    workflow = Workflow()
    image = workflow.nodes.EmptyImage(width=8, height=8, batch_size=1, color=0)
    flat = workflow.nodes.SaveImageAdvanced(
        {"format.bit_depth": "16-bit", "format.input_color_space": "sRGB"},
        images=image,
        filename_prefix="x",
        format="png",
    )
    nested = workflow.nodes.SaveImageAdvanced(
        images=image,
        filename_prefix="x",
        format={"format": "png", "bit_depth": "16-bit", "input_color_space": "sRGB"},
    )
    assert dict(flat.inputs) == dict(nested.inputs)
    with pytest.raises(InvalidWorkflow, match=r"required input `format.input_color_space` .COMBO. is missing"):
        workflow.nodes.SaveImageAdvanced(images=image, filename_prefix="x", format={"format": "exr", "bit_depth": "8"})
    with pytest.raises(InvalidWorkflow, match=r"`format` is 'gif'; it takes one of 'png', 'exr'"):
        workflow.nodes.SaveImageAdvanced(images=image, filename_prefix="x", format="gif")


def test_choices_within_choices() -> None:
    workflow = Workflow()
    video = workflow.add("GetVideo", check=False)
    codec = {"codec": "h264", "encoding": {"encoding": "re-encode", "crf": 20.0, "color_space": "auto"}}
    node = workflow.nodes.SaveVideo(video=video[0], filename_prefix="v", format={"format": "mp4", "codec": codec})
    assert {name: node.inputs[name] for name in list(node.inputs)[2:]} == {
        "format": "mp4",
        "format.codec": "h264",
        "format.codec.encoding": "re-encode",
        "format.codec.encoding.crf": 20.0,
        "format.codec.encoding.color_space": "auto",
    }


def test_sockets_that_bring_inputs() -> None:
    slot = {"slotType": "IMAGE", "inputs": {"required": {"strength": ["FLOAT", {"min": 0.0}]}}}
    entry = {
        "input": {"optional": {"image": ["COMFY_DYNAMICSLOT_V3", slot]}},
        "output": ["IMAGE"],
        "output_node": True,
        "output_matchtypes": None,
    }
    workflow = Workflow({"Slotted": entry})
    first = workflow.nodes.Slotted()
    with pytest.raises(InvalidWorkflow, match=r"required input `image.strength` .FLOAT. is missing"):
        workflow.nodes.Slotted(image=first)
    second = workflow.nodes.Slotted({"image.strength": 0.5}, image=first)
    with pytest.raises(InvalidWorkflow, match=r"`image.strength` is -1.0; it takes 0.0 up"):
        second.inputs["image.strength"] = -1


def test_defaults_as_in_the_editor_when_asked_for() -> None:
    nodes = Workflow(Catalogue.packaged(), defaults=True).nodes
    image = nodes.EmptyImage(width=64)
    assert dict(image.inputs) == {"width": 64, "height": 512, "batch_size": 1, "color": 0}
    save = nodes.SaveImageAdvanced(images=image)
    assert {name: save.inputs[name] for name in save.inputs if name != "images"} == {
        "filename_prefix": "ComfyUI",
        "format": "png",
        "format.bit_depth": "8-bit",
        "format.input_color_space": "sRGB",
    }
    with pytest.raises(InvalidWorkflow) as caught:
        nodes.KSampler()
    assert [problem.input_name for problem in caught.value.problems] == [
        *("model", "positive", "negative", "latent_image"),
    ]


def test_lists_that_are_values_and_lists_that_are_links() -> None:
    entries = {
        "Many": {
            "input": {"required": {"tags": ["COMBO", {"options": ["a", "b", 1], "multiselect": True}]}},
            "output": [],
            "output_node": True,
        }
    }
    workflow = Workflow(entries)
    node = workflow.nodes.Many(tags=["a", "b"])
    # Protocol 3.5: a bare list would be read as a link.
    assert workflow.to_prompt() == {"1": {"class_type": "Many", "inputs": {"tags": {"__value__": ["a", "b"]}}}}
    assert node.inputs["tags"] == ["a", "b"]
    with pytest.raises(InvalidWorkflow, match=r"`tags` is 'c'"):
        node.inputs["tags"] = ["a", "c"]
    with pytest.raises(InvalidWorkflow, match=r"`tags` is linked to node 'a', which is not in the workflow"):
        node.inputs["tags"] = ["a", 1]


def test_what_no_json_can_hold_is_refused_by_name() -> None:
    with pytest.raises(WorkflowError, match=r"`color` is given an object of type \w*Path: .*Files are uploaded first"):
        Workflow().nodes.EmptyImage(width=8, height=8, batch_size=1, color=Path("x"))


def test_nodes_of_another_workflow_are_refused() -> None:
    image = Workflow().nodes.EmptyImage(width=8, height=8, batch_size=1, color=0)
    with pytest.raises(
        WorkflowError, match=r"`images` is given <Output 0 IMAGE of node 1 .*belongs to another Workflow"
    ):
        Workflow().nodes.PreviewImage(images=image)


def test_edits_by_id_class_and_title() -> None:
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE))
    workflow["1"].set(width=128, height=256)
    workflow.one("EmptyImage").inputs["color"] = 255
    workflow.one(title="Out").set({"filename_prefix": "b"}).title = "New"
    edited = workflow.to_prompt()
    assert edited["1"]["inputs"] == {"width": 128, "height": 256, "batch_size": 1, "color": 255}
    assert edited["2"]["inputs"]["filename_prefix"] == "b"
    assert edited["2"]["_meta"] == {"title": "New"}
    assert workflow["2"].inputs["images"] == workflow["1"].IMAGE
    assert "1" in workflow
    assert workflow["1"] in workflow
    assert "3" not in workflow


def test_an_edit_that_the_server_would_refuse_changes_nothing() -> None:
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE))
    before = workflow.to_prompt()
    with pytest.raises(InvalidWorkflow, match=r"node 1 .EmptyImage.: `height` is 0; it takes 1 to 16384"):
        workflow["1"].set(width=64, height=0)
    with pytest.raises(InvalidWorkflow, match=r"there is no input `widht`; did you mean 'width'"):
        workflow["1"].set(widht=64)
    assert workflow.to_prompt() == before


def test_what_is_not_found_is_told_with_what_there_is() -> None:
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE, n3=EMPTY_IMAGE))
    with pytest.raises(WorkflowError, match=r"no node 'x' in the workflow; there are 1, 2, 3"):
        workflow["x"]
    with pytest.raises(WorkflowError, match=r"no node has class KSampler; the workflow has <Node 1 EmptyImage"):
        workflow.one("KSampler")
    with pytest.raises(
        WorkflowError, match=r"2 nodes have class EmptyImage: <Node 1 EmptyImage .*Choose by id or title"
    ):
        workflow.one("EmptyImage")
    assert [node.id for node in workflow.find("EmptyImage")] == ["1", "3"]


def test_nodes_are_removed_and_put_between_others() -> None:
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE))
    image = workflow["1"]
    with pytest.raises(WorkflowError, match=r"node 1 is still linked to `images` of node 2"):
        workflow.remove(image)
    inverted = workflow.nodes.ImageInvert(image=image)
    workflow.relink(image.IMAGE, inverted)
    assert workflow["2"].inputs["images"] == inverted.IMAGE
    assert inverted.inputs["image"] == image.IMAGE
    workflow.relink(inverted.IMAGE, image)
    workflow.remove(inverted)
    assert workflow.to_prompt() == prompt(n1=EMPTY_IMAGE, n2=SAVE)
    with pytest.raises(WorkflowError, match=r"there is no node '3'"):
        inverted.set(image=image)


def test_seeds_are_what_the_editor_changes_after_a_run() -> None:
    workflow = Workflow()
    text_to_image(workflow)
    workflow.nodes.RandomNoise(noise_seed=9)
    workflow.add("Unknown", {"seed": 3, "steps": 4}, check=False)
    assert workflow.seeds() == {("5", "seed"): 5, ("8", "noise_seed"): 9, ("9", "seed"): 3}
    workflow.set_seeds(2**64 - 1)
    assert set(workflow.seeds().values()) == {2**64 - 1}
    with pytest.raises(WorkflowError, match=r"a seed is a whole number from 0 to 18446744073709551615, not -1"):
        workflow.set_seeds(-1)


def test_a_seed_that_comes_from_another_node_stays_linked() -> None:
    workflow = Workflow()
    text_to_image(workflow)
    number = workflow.nodes.PrimitiveInt(value=7)
    workflow.one("KSampler").set(seed=number)
    workflow.set_seeds(11)
    assert workflow.one("KSampler").inputs["seed"] == number.INT


def test_problems_outside_of_what_runs_are_harmless() -> None:
    stray = {"class_type": "EmptyImage", "inputs": {"width": 0}}
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE, n3=stray), Catalogue.packaged())
    assert {problem.consequence for problem in workflow.problems()} == {"ignored"}
    workflow.check()
    with pytest.raises(InvalidWorkflow, match=r"nothing would run: no output node is among the targets .'1'."):
        workflow.check([workflow["1"]])


def test_constants_that_nobody_declared_are_harmless_in_a_file_and_a_mistake_in_code() -> None:
    # Editors of old exported `upload` with LoadImage; the server drops it (protocol 3.11).
    load = {"class_type": "LoadImage", "inputs": {"image": "example.png", "upload": "image"}}
    workflow = Workflow.from_dict(prompt(n1=load, n2=SAVE), Catalogue.packaged())
    workflow.check()
    assert [(problem.kind, problem.consequence) for problem in workflow.problems()] == [("unknown_input", "ignored")]
    with pytest.raises(InvalidWorkflow, match=r"there is no input `upload`"):
        workflow.nodes.LoadImage(image="example.png", upload="image")


def test_classes_that_the_server_replaces_by_their_successors_are_not_refused() -> None:
    # Protocol 3.12: 0.33.0 has no T2IAdapterLoader, and takes ControlNetLoader for it.
    old = {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "x"}, "_meta": {"title": "Old"}}
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE, n3=old), Catalogue.packaged())
    workflow.check()
    assert [(problem.kind, problem.consequence) for problem in workflow.problems()] == [("missing_node_type", "unsure")]


def test_only_the_outputs_that_are_to_run_are_checked() -> None:
    broken = {"class_type": "PreviewImage", "inputs": {}}
    workflow = Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE, n3=broken))
    with pytest.raises(InvalidWorkflow, match=r"node 3 .PreviewImage.: required input `images`"):
        workflow.to_prompt()
    assert workflow.to_prompt(targets=workflow["2"]) == workflow.to_prompt(targets=["2"])


def test_cycles_are_found() -> None:
    invert = {"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}}
    back = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    workflow = Workflow.from_dict(prompt(n1=invert, n2=SAVE, n3=back))
    with pytest.raises(InvalidWorkflow, match=r"lead back to itself: 1 <- 3 <- 1; remove one of these links"):
        workflow.check()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the workflow is not JSON"),
        ("[]", "a workflow is a JSON object of nodes, not list"),
        ('{"nodes": [], "links": []}', r"in ComfyUI choose Workflow > Export \(API\)"),
        ('{"prompt": {"1": {}}, "client_id": "a"}', "body of POST /prompt, not a prompt: give what stands under"),
        ('{"1": {"inputs": {}}}', "in `1`: .*`class_type`"),
        ('{"1": {"class_type": "A", "inputs": []}}', "in `1`: .*inputs"),
    ],
)
def test_what_is_not_in_api_format_is_refused(text: str, said: str) -> None:
    with pytest.raises(WorkflowError, match=said):
        Workflow.from_json(text)


def test_files_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    Workflow.from_dict(prompt(n1=EMPTY_IMAGE, n2=SAVE)).save(path)
    assert Workflow.from_file(path).to_prompt() == prompt(n1=EMPTY_IMAGE, n2=SAVE)
    with pytest.raises(WorkflowError, match=r"cannot read the workflow .*nowhere.json: No such file"):
        Workflow.from_file(tmp_path / "nowhere.json")
    path.write_text("{}x")
    with pytest.raises(WorkflowError, match=r"workflow.json: the workflow is not JSON"):
        Workflow.from_file(path)


def test_copies_are_independent() -> None:
    given = prompt(n1=copy.deepcopy(EMPTY_IMAGE), n2=SAVE)
    workflow = Workflow.from_dict(given)
    twin = workflow.copy()
    twin["1"].set(width=1)
    workflow.to_prompt()["1"]["inputs"]["width"] = 3
    assert workflow["1"].inputs["width"] == 64
    assert given["1"] == EMPTY_IMAGE


def test_a_node_may_be_called_prompt() -> None:
    odd = {"prompt": EMPTY_IMAGE, "2": {**SAVE, "inputs": {**SAVE["inputs"], "images": ["prompt", 0]}}}
    assert Workflow.from_dict(odd).to_prompt() == odd


def test_own_ids_are_kept_and_new_ones_are_free() -> None:
    workflow = Workflow()
    workflow.add("PrimitiveInt", {"value": 1}, node_id="41")
    workflow.add("PrimitiveInt", {"value": 1}, node_id="a:1")
    assert workflow.nodes.PrimitiveInt(value=2).id == "42"
    with pytest.raises(WorkflowError, match=r"node id '41' is taken by a PrimitiveInt: choose another"):
        workflow.add("PrimitiveInt", {"value": 1}, node_id="41")


def test_nodes_and_outputs_are_values() -> None:
    workflow = Workflow()
    node = workflow.nodes.PrimitiveInt(value=1)
    assert {node, workflow["1"]} == {node}
    assert {node.INT, Output(node, 0)} == {node.INT}
    assert copy.copy(node) == node
    assert "KSampler" in dir(workflow.nodes)
    assert "sampler_name" in repr(workflow.nodes.KSampler)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())


@hypothesis.given(
    st.dictionaries(
        st.text(min_size=1),
        st.fixed_dictionaries(
            {"class_type": st.sampled_from(["KSampler", "SaveImage", "SaveVideo", "BatchImagesNode", "Nobodys"])},
            optional={"_meta": st.fixed_dictionaries({"title": st.text()}), "is_changed": st.lists(st.text())},
        ).flatmap(
            lambda node: st.dictionaries(
                st.sampled_from(["model", "seed", "images", "format", "images.image0", "format.codec", "x"]),
                st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(), SCALARS, max_size=2)),
            ).map(lambda inputs: {**node, "inputs": inputs})
        ),
        max_size=6,
    )
)
def test_any_prompt_is_kept_as_it_is_and_its_problems_have_words(nodes: dict[str, Any]) -> None:
    hypothesis.assume("nodes" not in nodes)
    workflow = Workflow.from_json(json.dumps(nodes))
    assert workflow.to_prompt(check=False) == nodes
    for problem in workflow.problems():
        assert problem.message
        assert problem.node_id in nodes or problem.kind == "prompt_no_outputs"
    refused = [problem for problem in workflow.problems() if problem.consequence in ("refused", "fails")]
    if refused:
        with pytest.raises(InvalidWorkflow):
            workflow.to_prompt()
    else:
        assert workflow.to_prompt() == nodes
