"""The `/picture` command against a fake ComfyUI: no GPU, no models, no chat, no sleeping."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import PIL.Image
import pytest
from picture_command import PictureCommand

from comfy_client import AsyncClient, Pace, Retries, Workflow
from comfy_mock import ComfyMock
from comfy_mock.script import Script, at_point, on_node, on_request, on_server, on_socket

pytestmark = pytest.mark.anyio

QUICK_TO_NOTICE = Pace(watch_interval=0.05, poll_interval=0.05, lost_after=0.1, reconnect_first=0.01)
"""How often a bot looks after its prompts that wants to know of a restart at once; usually seconds are early enough."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class RecordedReply:
    """A reply as the user sees it: every text that it ever had, and the picture at the end."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.picture: bytes | None = None
        self._edited = asyncio.Condition()

    async def edit(self, text: str, picture: bytes | None = None) -> None:
        async with self._edited:
            self.texts.append(text)
            self.picture = picture
            self._edited.notify_all()

    async def says(self, text: str) -> None:
        """Wait until the user can read it."""
        async with self._edited:
            await asyncio.wait_for(self._edited.wait_for(lambda: text in self.texts), timeout=60)


@pytest.fixture
def reply() -> RecordedReply:
    return RecordedReply()


@pytest.fixture
def pace() -> Pace:
    """Less patience than in earnest: a server that is gone is given up after half a second."""
    return Pace(unreachable_after=0.5, reconnect_first=0.01)


@pytest.fixture
async def comfyui(comfy_mock: ComfyMock, pace: Pace) -> AsyncIterator[AsyncClient]:
    """The bot's client."""
    async with AsyncClient(comfy_mock.url, pace=pace, retries=Retries(attempts=3, first_wait=0.01)) as client:
        yield client


@pytest.fixture
def picture(comfyui: AsyncClient) -> PictureCommand:
    return PictureCommand(comfyui, queue_max=3, timeout=60)


async def test_a_wish_becomes_a_picture(picture: PictureCommand, reply: RecordedReply, comfy_mock: ComfyMock) -> None:
    await picture("ada", "a fox in the snow", reply)
    assert reply.texts[-1] == "Here you are:"
    assert reply.picture is not None
    assert PIL.Image.open(io.BytesIO(reply.picture)).size == (512, 512)
    comfy_mock.journal.assert_prompt(class_type="CLIPTextEncode", inputs={"text": "a fox in the snow"})


@pytest.mark.comfy_mock(clock="manual")
async def test_progress_is_told_in_tens(picture: PictureCommand, reply: RecordedReply, comfy_mock: ComfyMock) -> None:
    painting = asyncio.create_task(picture("ada", "a fox", reply))
    await reply.says("In the queue; pictures before yours: 0")
    await comfy_mock.advance_async(60)  # seconds: enough for all 20 steps
    await painting
    told = [text for text in reply.texts if text.startswith("Painting")]
    assert told == [f"Painting: {percent} %" for percent in range(0, 101, 10)]


@pytest.mark.comfy_mock(clock="manual")
async def test_the_place_in_the_queue_is_told(
    picture: PictureCommand, reply: RecordedReply, comfyui: AsyncClient, comfy_mock: ComfyMock
) -> None:
    await submit_others(comfyui, 2)
    painting = asyncio.create_task(picture("ada", "a fox", reply))
    await reply.says("In the queue; pictures before yours: 2")
    await comfy_mock.advance_async(60)  # seconds, for all three
    await painting
    assert reply.picture is not None


@pytest.mark.comfy_mock(clock="manual")
async def test_a_full_queue_is_not_made_longer(
    picture: PictureCommand, reply: RecordedReply, comfyui: AsyncClient, comfy_mock: ComfyMock
) -> None:
    await submit_others(comfyui, 3)
    await picture("ada", "a fox", reply)
    assert reply.texts == ["The queue is full. Please ask again in a few minutes."]
    comfy_mock.journal.assert_request("POST /prompt", times=3)


@pytest.mark.comfy_mock(script=Script(rules=[on_request("POST /prompt", times=2, status=503, retry_after=0)]))
async def test_a_server_that_is_busy_for_a_moment_goes_unnoticed(picture: PictureCommand, reply: RecordedReply) -> None:
    await picture("ada", "a fox", reply)
    assert reply.picture is not None


@pytest.mark.comfy_mock(script=Script(rules=[on_request("POST /prompt", status=503)]))
async def test_a_server_that_stays_busy(picture: PictureCommand, reply: RecordedReply) -> None:
    await picture("ada", "a fox", reply)
    assert reply.texts == ["The server has too much to do. Please ask again in a few minutes."]


@pytest.mark.comfy_mock(script=Script(rules=[on_node("KSampler", times=1, raises="out_of_memory")]))
async def test_out_of_memory_is_told_politely(picture: PictureCommand, reply: RecordedReply) -> None:
    await picture("ada", "a fox", reply)
    assert reply.texts[-1] == "The graphics card ran out of memory. Please ask for something simpler, or later."

    await picture("ada", "a small fox", reply)  # nothing is left of the failure
    assert reply.texts[-1] == "Here you are:"


@pytest.mark.comfy_mock(script=Script(rules=[on_node("VAEDecode", raises=ValueError("NaN in the latent"))]))
async def test_other_failures_go_to_the_log_and_not_to_the_user(
    picture: PictureCommand, reply: RecordedReply, caplog: pytest.LogCaptureFixture
) -> None:
    await picture("ada", "a fox", reply)
    assert reply.texts[-1] == "Painting failed at the step VAEDecode. The people who run me will find out why."
    assert "NaN in the latent" in caplog.text


@pytest.mark.comfy_mock(models={"checkpoints": ["another.safetensors"]})
async def test_a_checkpoint_that_somebody_has_removed(
    picture: PictureCommand, reply: RecordedReply, caplog: pytest.LogCaptureFixture
) -> None:
    await picture("ada", "a fox", reply)
    assert reply.texts == ["The server cannot paint this at the moment. The people who run me will find out why."]
    assert "v1-5-pruned-emaonly-fp16.safetensors" in caplog.text


@pytest.mark.parametrize("pace", [QUICK_TO_NOTICE])
@pytest.mark.comfy_mock(script=Script(rules=[on_server("progress", value=7, times=1)]))
async def test_a_restart_in_the_middle_of_a_picture(picture: PictureCommand, reply: RecordedReply) -> None:
    await picture("ada", "a fox", reply)
    assert "ComfyUI was restarted in the middle of your picture: starting over." in reply.texts
    assert reply.picture is not None


@pytest.mark.parametrize("pace", [QUICK_TO_NOTICE])
@pytest.mark.comfy_mock(script=Script(rules=[on_server("progress", value=7, times=2)]))
async def test_a_server_that_keeps_restarting(picture: PictureCommand, reply: RecordedReply) -> None:
    await picture("ada", "a fox", reply)
    assert reply.texts[-1] == "ComfyUI keeps restarting. Please ask again later."


async def test_a_server_that_is_down(picture: PictureCommand, reply: RecordedReply, comfy_mock: ComfyMock) -> None:
    comfy_mock.stop()
    await picture("ada", "a fox", reply)
    assert reply.texts == ["The server cannot be reached. Please ask again later."]


@pytest.mark.parametrize("pace", [QUICK_TO_NOTICE])
@pytest.mark.comfy_mock(
    script=Script(
        rules=[
            on_socket(times=1, end="abort", event="progress"),
            at_point("after_success_before_history", polls=2, times=1),
        ]
    )
)
async def test_a_bad_line_and_a_slow_history_cost_nobody_a_picture(
    picture: PictureCommand, reply: RecordedReply
) -> None:
    await picture("ada", "a fox", reply)
    assert reply.picture is not None


@pytest.mark.comfy_mock(clock="manual")
async def test_a_user_cancels(picture: PictureCommand, reply: RecordedReply, comfy_mock: ComfyMock) -> None:
    painting = asyncio.create_task(picture("ada", "a fox", reply))
    await reply.says("In the queue; pictures before yours: 0")
    await comfy_mock.run_until_async("progress", value=8)
    assert await picture.cancel("ada")
    await comfy_mock.advance_async(60)
    await painting
    assert reply.texts[-1] == "Cancelled."
    comfy_mock.journal.assert_event("progress", times=8)  # of 20: the graphics card is free for others at once


@pytest.mark.comfy_mock(clock="manual")
async def test_one_picture_at_a_time(picture: PictureCommand, reply: RecordedReply, comfy_mock: ComfyMock) -> None:
    painting = asyncio.create_task(picture("ada", "a fox", reply))
    await reply.says("In the queue; pictures before yours: 0")
    impatient = RecordedReply()
    await picture("ada", "a wolf", impatient)
    assert impatient.texts == ["One picture at a time: yours is still in the works."]
    await comfy_mock.advance_async(60)
    await painting
    assert reply.picture is not None


async def test_there_is_nothing_to_cancel(picture: PictureCommand) -> None:
    assert not await picture.cancel("ada")


@pytest.mark.comfy_mock(script=Script(rules=[on_node("CheckpointLoaderSimple", holds="stuck")]))
async def test_a_server_that_is_stuck(comfyui: AsyncClient, reply: RecordedReply, comfy_mock: ComfyMock) -> None:
    await PictureCommand(comfyui, timeout=0.5)("ada", "a fox", reply)
    assert reply.texts[-1] == "This took more than 0.5 seconds, so I gave up."

    comfy_mock.release("stuck")  # the interrupt that the bot has sent is heeded at the next step
    await comfy_mock.journal.wait_for_event_async("execution_interrupted")


async def submit_others(comfyui: AsyncClient, count: int) -> None:
    """Pictures of other users, who came first."""
    workflow = Workflow()
    nodes = workflow.nodes
    nodes.SaveImage(images=nodes.EmptyImage(width=64, height=64, batch_size=1, color=0), filename_prefix="others")
    for _ in range(count):
        await comfyui.submit(workflow)
