"""The media type that the recorded servers give a file by its name, the same on every machine.

The real server asks the operating system's table, so this is the Debian one of the recordings, cut down to the kinds of
files that come near a ComfyUI server.
"""

from __future__ import annotations

import posixpath

BINARY = "application/octet-stream"

_TYPES = {
    "application/javascript": "js mjs",
    "application/json": "json",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc dot wiz",
    "application/pdf": "pdf",
    "application/postscript": "ai eps ps",
    "application/rdf+xml": "rdf",
    "application/rtf": "rtf",
    "application/safetensors": "safetensors",
    "application/vnd.apple.mpegurl": "m3u m3u8",
    "application/vnd.ms-3mfdocument": "3mf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.rar": "rar",
    "application/vnd.snesdev-page-table": "pt",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-rss+xml": "rss",
    "application/x-sh": "sh",
    "application/x-tar": "tar",
    "application/atom+xml": "atom",
    "application/xhtml+xml": "xht xhtml",
    "application/xml": "xml",
    "application/xslt+xml": "xsl xslt",
    "application/zip": "zip",
    "audio/aac": "aac adts",
    "audio/basic": "au snd",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp2 mp3",
    "audio/ogg": "oga ogg opus spx",
    "audio/sp-midi": "mid",
    "audio/x-aiff": "aif aifc aiff",
    "audio/x-wav": "wav",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/aces": "exr",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jpeg": "jpe jpeg jpg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.microsoft.icon": "ico",
    "image/vnd.radiance": "hdr",
    "image/webp": "webp",
    "image/x-portable-anymap": "pnm",
    "image/x-portable-bitmap": "pbm",
    "image/x-portable-graymap": "pgm",
    "image/x-portable-pixmap": "ppm",
    "message/rfc822": "eml mht mhtml",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/stl": "stl",
    "model/vnd.collada+xml": "dae",
    "model/vnd.usda": "usda",
    "model/vnd.usdz+zip": "usdz",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "htm html shtml",
    "text/markdown": "markdown md",
    "text/plain": "bat c h ksh pl srt txt",
    "text/tab-separated-values": "tsv",
    "text/vtt": "vtt",
    "text/x-python": "py",
    "video/mp4": "m4v mp4",
    "video/mpeg": "mpe mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-wmv": "wmv",
    "video/x-msvideo": "avi",
}

_BY_EXTENSION = {f".{extension}": kind for kind, extensions in _TYPES.items() for extension in extensions.split()}
_PACKED = {".gz", ".bz2", ".xz", ".br"}
_PACKED_TOGETHER = {".svgz": ".svg", ".tgz": ".tar", ".tbz2": ".tar", ".txz": ".tar"}

_SCRIPTS = {"text/html", "text/css", "text/javascript", "application/javascript", "message/rfc822"}


def content_type_of(name: str) -> str:
    """The media type of a file name, `application/octet-stream` if its extension says nothing (protocol 2.4).

    The extension of a packing does not count: `a.json.gz` is `application/json`.
    """
    stem, extension = posixpath.splitext(name)
    if extension.lower() in _PACKED:
        extension = posixpath.splitext(stem)[1]
    extension = extension.lower()
    return _BY_EXTENSION.get(_PACKED_TOGETHER.get(extension, extension), BINARY)


def is_dangerous(content_type: str) -> bool:
    """Whether a browser might run what such a file holds, so that the server disguises it (protocol 2.4)."""
    return content_type in _SCRIPTS or content_type.endswith(("+xml", "/xml"))
