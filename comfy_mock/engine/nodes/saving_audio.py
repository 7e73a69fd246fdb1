"""Nodes that write sounds: one file per clip of the batch, with no underscore behind the number (protocol 7.2)."""

from __future__ import annotations

from functools import partial

from comfy_mock.engine.media import audio as sounds
from comfy_mock.engine.metadata import texts
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.saving import file_item, save_path, temp_prefix_for_audio


@node("SaveAudio", seconds=0.02)
def save_audio(call: Call) -> Output:
    """FLAC."""
    return _saved(call, "flac", None)


@node("SaveAudioMP3", seconds=0.02)
def save_audio_mp3(call: Call) -> Output:
    """MP3, with the chosen quality."""
    return _saved(call, "mp3", call.inputs["quality"])


@node("SaveAudioOpus", seconds=0.02)
def save_audio_opus(call: Call) -> Output:
    """Opus, with the chosen quality."""
    return _saved(call, "opus", call.inputs["quality"])


@node("SaveAudioAdvanced", seconds=0.02)
def save_audio_advanced(call: Call) -> Output:
    """The chosen format; its quality stands below it."""
    return _saved(call, call.inputs["format"], call.inputs.get("format.quality"))


@node("PreviewAudio", seconds=0.02)
def preview_audio(call: Call) -> Output:
    """FLAC into the temp folder, under a fresh random prefix."""
    return _written(call, temp_prefix_for_audio(call.random), "temp", "flac", None)


def _saved(call: Call, file_format: str, quality: str | None) -> Output:
    return _written(call, call.inputs["filename_prefix"], "output", file_format, quality)


def _written(call: Call, prefix: str, folder_type: str, file_format: str, quality: str | None) -> Output:
    audio = arguments.audio(call, "audio")
    folder = call.folders.temp if folder_type == "temp" else call.folders.output
    where = save_path(prefix, folder, call.files, now=call.now, utc_offset_s=call.utc_offset_s)
    content = partial(sounds.encode, audio, file_format=file_format, quality=quality, texts=texts(call))
    items = []
    for index in range(audio.batch):
        name = where.name(index, f".{file_format}")
        call.files.write(where.path(name), content, now=call.now)
        items.append(file_item(name, where.subfolder, folder_type))
    return Output((audio,), {"audio": items})
