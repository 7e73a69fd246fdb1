"""What differs between ComfyUI versions, in one table (protocol 10).

A fact is something that newer versions do and older ones do not; `since` is the first version known to do it. The rest
of the program asks `Profile.of(version).has(name)` and never compares versions itself.

A further version is a matter of rows: for each thing that it began to do add a `Fact` whose `since` is that version,
and where `note` says that the true beginning is unknown, narrow `since` once evidence of a version in between is there.
What a version stopped doing is a fact as well, named after what it does now.

The table is what is known, which is more than what the fake plays: where `imitated` is false, a fake of an older
version still does what 0.33.0 does. Whoever reads recordings of older servers has use for such a row all the same.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass

NEWEST = "0.33.0"
"""The newest version that the table knows of: what a later one does is unknown, so there is no profile of it."""

_AFTER_0_3_64 = "began somewhere after 0.3.64"
_AFTER_0_8_0 = "began somewhere after 0.8.0"


class ProfileError(ValueError):
    """A version that is not one or not known yet, or a fact that the table does not have."""


@dataclass(frozen=True)
class Fact:
    """One row of the table. `note` says what is not known about `since`, `imitated` whether the fake goes by it."""

    name: str
    since: str
    what: str
    note: str = ""
    imitated: bool = True


FACTS: tuple[Fact, ...] = (
    # prompts and their validation
    Fact(
        "canonical_uuid_prompt_ids",
        "0.24.0",
        "a `prompt_id` that is not a canonical UUID is refused, not taken as text",
    ),
    Fact("partial_execution_targets", "0.3.64", "a prompt may name the outputs to run", "or earlier"),
    Fact("create_time", "0.3.68", "`extra_data.create_time` is added to accepted prompts"),
    Fact("sensitive_keys_hidden", "0.8.0", "API keys in `extra_data` are not shown in `/queue`", _AFTER_0_3_64),
    Fact("preview_method_in_extra_data", "0.8.0", "`extra_data.preview_method` counts", _AFTER_0_3_64),
    Fact("usage_source_header", "0.33.0", "the header `Comfy-Usage-Source` is kept in `extra_data`", _AFTER_0_8_0),
    Fact(
        "missing_node_type",
        "0.33.0",
        "an unknown or absent class is `missing_node_type` with details in `extra_info`, not `invalid_prompt`",
        _AFTER_0_8_0,
    ),
    Fact(
        "cycle_check",
        "0.33.0",
        "validation finds cycles; before, Python's recursion limit did",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "value_not_in_list_repr",
        "0.33.0",
        "`value_not_in_list` prints the repr of each bad value",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "v3_combo_checked",
        "0.8.0",
        "inputs of type `COMBO` are compared with their options",
        _AFTER_0_3_64,
        imitated=False,
    ),
    Fact(
        "multiselect_combo",
        "0.33.0",
        "a `COMBO` with `multiselect` takes a list of values",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "dynamic_inputs",
        "0.8.0",
        "inputs that depend on the values of others (protocol 3.9)",
        _AFTER_0_3_64,
        imitated=False,
    ),
    Fact(
        "match_types",
        "0.8.0",
        "`*` and match types in links by the rule of protocol 3.8",
        _AFTER_0_3_64,
        imitated=False,
    ),
    Fact("node_replacements", "0.33.0", "old classes are replaced, and `/node_replacements` lists them", _AFTER_0_8_0),
    # queue, history, jobs
    Fact("targeted_interrupt", "0.3.56", "`POST /interrupt` may name the prompt"),
    Fact("jobs_api", "0.5.1", "`GET /api/jobs` and `/api/jobs/{id}`"),
    Fact("cancel_routes", "0.25.0", "`POST /api/jobs/{id}/cancel` and `/api/jobs/cancel`"),
    Fact(
        "jobs_cancelled_status",
        "0.33.0",
        "an interrupted job is `cancelled`, not `failed`",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "jobs_previewable_outputs",
        "0.33.0",
        "`previewable_outputs_count`, and text as a preview",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "jobs_normalised_outputs",
        "0.33.0",
        "a job's outputs are normalised (protocol 4.6)",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact("jobs_3d_usdz", "0.33.0", "`.usdz` counts as a 3D output", _AFTER_0_8_0, imitated=False),
    Fact(
        "history_only_needed_cached",
        "0.8.0",
        "history has cached outputs only of nodes the run needed",
        _AFTER_0_3_64,
        imitated=False,
    ),
    Fact(
        "history_cached_without_client", "0.33.0", "… also if the prompt had no client id", _AFTER_0_8_0, imitated=False
    ),
    # execution
    Fact(
        "ram_pressure_cache", "0.33.0", "the default cache is the RAM pressure one, not the classic one", _AFTER_0_8_0
    ),
    Fact(
        "cache_none_keeps_nothing",
        "0.8.0",
        "`--cache-none` keeps no result even within a run",
        _AFTER_0_3_64,
        imitated=False,
    ),
    Fact("intermediate_outputs", "0.33.0", "nodes that show something without being outputs (5.15)", _AFTER_0_8_0),
    Fact("mat_shapes_tip", "0.33.0", "a tip about CLIP loaders after a sampler's `mat1 and mat2` error", _AFTER_0_8_0),
    Fact(
        "expansion_replaces_ids",
        "0.8.0",
        "an expansion may use an id again; before, it was an error",
        _AFTER_0_3_64,
        imitated=False,
    ),
    # the socket
    Fact("progress_state", "0.3.44", "`progress_state` messages and previews with metadata"),
    Fact(
        "progress_throttle", "0.33.0", "progress without a preview is sent at most every 100 ms and 0.5 %", _AFTER_0_8_0
    ),
    # other routes
    Fact("features_extension", "0.8.0", "`extension` in `/features`", _AFTER_0_3_64),
    Fact(
        "features_of_assets",
        "0.33.0",
        "`supports_model_type_tags`, `node_replacements` and `assets` in `/features`",
        _AFTER_0_8_0,
    ),
    Fact("system_stats_platform", "0.8.0", "`os` is `linux`, `darwin`, `win32`, not `posix`, `nt`", _AFTER_0_3_64),
    Fact(
        "system_stats_packages",
        "0.33.0",
        "`comfy_package_versions`, `deploy_environment` and all devices in `/system_stats`",
        _AFTER_0_8_0,
    ),
    Fact(
        "object_info_v1_keys",
        "0.33.0",
        "V1 entries of `/object_info` have `is_input_list`, `has_intermediate_output`, `search_aliases` and more",
        _AFTER_0_8_0,
    ),
    Fact("assets_routes", "0.33.0", "`/api/assets…` and `/api/tags`, answering 503 unless enabled", _AFTER_0_8_0),
    Fact("view_by_hash", "0.33.0", "a `blake3:` name in `/view` is an asset's hash", _AFTER_0_8_0, imitated=False),
    Fact(
        "view_hardened", "0.33.0", "`/view`: nosniff, attachments, `Vary`, escaped names", _AFTER_0_8_0, imitated=False
    ),
    Fact("userdata_attachment", "0.33.0", "`/userdata` files: attachment and nosniff", _AFTER_0_8_0, imitated=False),
    Fact(
        "userdata_times_ms",
        "0.33.0",
        "times of `/userdata` are whole milliseconds, not seconds",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact("global_subgraphs", "0.8.0", "`/global_subgraphs`", _AFTER_0_3_64),
    Fact(
        "templates_by_handler", "0.8.0", "`/templates` by a handler, not a static folder", _AFTER_0_3_64, imitated=False
    ),
    Fact("fetch_site_rule", "0.33.0", "the origin rule looks at `Sec-Fetch-Site`", _AFTER_0_8_0, imitated=False),
    Fact("no_store", "0.33.0", "scripts, styles and `index….json` are `no-store`, not `no-cache`", _AFTER_0_8_0),
    Fact(
        "page_no_store",
        "0.33.0",
        "the page at `/` is `no-store, must-revalidate`, not `no-cache`",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact("cors_patch", "0.8.0", "`PATCH` among the CORS methods", _AFTER_0_3_64),
    # nodes and files
    Fact(
        "savers_have_outputs",
        "0.33.0",
        "SaveImage, PreviewImage and PreviewAny have outputs",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "audio_names_without_underscore",
        "0.33.0",
        "audio files are `_00001.flac`, not `_00001_.flac`",
        _AFTER_0_8_0,
        imitated=False,
    ),
    Fact(
        "counter_ends_at_dot", "0.33.0", "the digits of a file's counter end at `.` too", _AFTER_0_8_0, imitated=False
    ),
    Fact(
        "outside_output_two_lines",
        "0.33.0",
        "the error of a prefix outside the output folder has two lines",
        _AFTER_0_8_0,
        imitated=False,
    ),
)

_BY_NAME = {fact.name: fact for fact in FACTS}
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")


@dataclass(frozen=True)
class Profile:
    """The facts of one version; make it with `Profile.of`."""

    version: str
    facts: frozenset[str]

    @classmethod
    def of(cls, version: str) -> Profile:
        """The profile of a version such as `0.33.0`.

        Raises `ProfileError` where that is not a version, or one that is newer than `NEWEST`.
        """
        return _profile(version)

    def has(self, name: str) -> bool:
        """Whether the fact of that name holds. Raises `ProfileError` for a name that is not in the table."""
        if name not in _BY_NAME:
            close = difflib.get_close_matches(name, _BY_NAME, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ProfileError(f"no fact {name!r} in the table of ComfyUI versions{hint}")
        return name in self.facts


# The fake asks for it with every request.
@functools.lru_cache(maxsize=16)
def _profile(version: str) -> Profile:
    number = _number(version)
    if number > _number(NEWEST):
        raise ProfileError(f"ComfyUI {version} is newer than {NEWEST}, the newest version known here; choose that one")
    return Profile(version, frozenset(fact.name for fact in FACTS if _number(fact.since) <= number))


def _number(version: str) -> tuple[int, ...]:
    """The version as numbers that compare as versions do: 0.3.9 < 0.3.64 < 0.33, and 0.33 is 0.33.0."""
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        raise ProfileError(f"not a ComfyUI version: {version!r}; write it as 0.33.0")
    parts = [int(part) for part in match[1].split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
