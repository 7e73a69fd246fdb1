"""Fakes that stand for recorded servers: for each recording a fresh one, started as the recorded server was."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from comfy_contracts import jsontext
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.har import Har
from comfy_contracts.needs import Needs, needs_of
from comfy_contracts.replay_plan import received_by
from comfy_contracts.results import queue_items

if TYPE_CHECKING:
    from comfy_mock.server.network import ComfyMock

_HASH_SEEDS = 10_000
_FAST = 5.0
_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "control_net_name": "controlnet",
    "model_name": "upscale_models",
    "style_model_name": "style_models",
}
_NO_MODELS = frozenset({"configs", "custom_nodes"})


def fake_for(har: Har) -> ComfyMock:
    """A server that was started as the recorded one was: its switches, models, and the order of its sets."""
    from comfy_mock.server.network import ComfyMock

    needs = needs_of(har)
    words = [word for switch, value in needs.switches.items() for word in (switch, value) if word]
    return ComfyMock(
        clock="real",
        speed=speed(har),
        models=_models(needs),
        hash_seed=hash_seed(har) or 0,
        argv=("main.py", *words),
        **_options(needs),
    )


def _options(needs: Needs) -> dict[str, Any]:
    switches = needs.switches
    options: dict[str, Any] = {"preview_method": switches.get("--preview-method", "none")}
    if "--cache-lru" in switches:
        options |= {"cache": "lru", "cache_size": int(switches["--cache-lru"])}
    elif "--cache-none" in switches:
        options["cache"] = "none"
    elif "--cache-classic" in switches or "--high-ram" in switches:
        options["cache"] = "classic"
    for switch, kind in (("--max-upload-size", float), ("--preview-size", int), ("--enable-cors-header", str)):
        if switch in switches:
            options[switch[2:].replace("-", "_")] = kind(switches[switch])
    for switch in ("--enable-compress-response-body", "--multi-user", "--disable-metadata", "--disable-api-nodes"):
        if switch in switches:
            options[switch[2:].replace("-", "_")] = True
    return options


def _models(needs: Needs) -> dict[str, list[str]]:
    models = {folder: list(names) for folder, names in needs.models.items() if folder not in _NO_MODELS}
    for values in needs.classes.values():
        for name, value in values:
            folder = _FOLDERS.get(name)
            if folder is not None and value not in models.setdefault(folder, []):
                models[folder].append(value)
    # The recorded servers had one checkpoint, also where no prompt names it.
    return models if models.get("checkpoints") else {**models, "checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]}


def hash_seed(har: Har) -> int | None:
    """A seed under which sets of outputs have every recorded order (protocol 3.13); None where none is found."""
    from comfy_mock.engine.pyset import set_order

    catalogue = Catalogue.packaged()
    orders = {
        tuple(node for node, entry in graph.items() if node in outputs and _is_output(catalogue, entry)): outputs
        for _, _, graph, _, outputs, *_ in recorded_items(har)
    }
    return next(
        (
            seed
            for seed in range(_HASH_SEEDS)
            # Outputs are a set that is copied into the set of valid ones.
            if all(set_order(set_order(nodes, seed), seed) == order for nodes, order in orders.items())
        ),
        None,
    )


def _is_output(catalogue: Catalogue, node: Any) -> bool:
    definition = catalogue.get(node["class_type"])
    return definition is not None and definition.output_node


def recorded_items(har: Har) -> list[list[Any]]:
    """All queue items in the answers: [number, id, graph, extra data, outputs]."""
    return [item for entry in har.exchanges() for item in queue_items(_json(entry.response.body))]


def _json(body: bytes | None) -> Any:
    try:
        return jsontext.loads(body or b"")
    except (ValueError, RecursionError):
        return None


def speed(har: Har) -> float:
    """How fast the fake's clock may run: slowly where the client did something between two steps of a sampler."""
    steps: defaultdict[str | None, list[float]] = defaultdict(list)
    for socket in har.sockets():
        for message in received_by(socket):
            if message.kind in ("progress", "execution_interrupted"):
                steps[message.prompt].append(message.time)
    busy = any(min(times) < entry.started < max(times) for times in steps.values() for entry in har.entries)
    return 1.0 if busy else _FAST
