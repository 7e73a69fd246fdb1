"""The media type that the recorded servers give a file by its name, the same on every machine.

The real server asks the operating system's table, so this is the Debian one of the recordings, cut down to the kinds of
files that come near a ComfyUI server.
"""

from __future__ import annotations

import posixpath

BINARY = "application/octet-stream"

_TYPES = {
    "application/atom+xml": "atom",
    "application/epub+zip": "epub",
    "application/geo+json": "geojson",
    "application/javascript": "js mjs",
    "application/json": "json",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc wiz",
    "application/pdf": "pdf",
    "application/postscript": "ai eps ps",
    "application/rdf+xml": "rdf",
    "application/rtf": "rtf",
    "application/safetensors": "safetensors",
    "application/sql": "sql",
    "application/vnd.adobe.flash.movie": "swf",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/vnd.ms-3mfdocument": "3mf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-fontobject": "eot",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.rar": "rar",
    "application/vnd.snesdev-page-table": "pt",
    "application/vnd.sqlite3": "sqlite",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-apple-diskimage": "dmg",
    "application/x-hdf5": "h5",
    "application/x-iso9660-image": "iso",
    "application/x-msdos-program": "bat dll exe",
    "application/x-python-code": "pyc",
    "application/x-rss+xml": "rss",
    "application/x-ruby": "rb",
    "application/x-tar": "tar",
    "application/xhtml+xml": "xht xhtml",
    "application/xml": "xml",
    "application/xml-dtd": "dtd",
    "application/xslt+xml": "xsl xslt",
    "application/zip": "zip",
    "application/zstd": "zst",
    "audio/3gpp": "3gp",
    "audio/3gpp2": "3g2",
    "audio/AMR": "amr",
    "audio/aac": "aac adts",
    "audio/basic": "au snd",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp2 mp3",
    "audio/mpegurl": "m3u",
    "audio/ogg": "oga ogg opus spx",
    "audio/sp-midi": "mid",
    "audio/x-aiff": "aif aifc aiff",
    "audio/x-ms-wma": "wma",
    "audio/x-wav": "wav",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/aces": "exr",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jp2": "jp2",
    "image/jpeg": "jfif jpe jpeg jpg",
    "image/jpx": "jpx",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.dxf": "dxf",
    "image/vnd.microsoft.icon": "ico",
    "image/vnd.radiance": "hdr",
    "image/vnd.zbrush.pcx": "pcx",
    "image/webp": "webp",
    "image/x-canon-cr2": "cr2",
    "image/x-nikon-nef": "nef",
    "image/x-portable-anymap": "pnm",
    "image/x-portable-bitmap": "pbm",
    "image/x-portable-graymap": "pgm",
    "image/x-portable-pixmap": "ppm",
    "image/x-xbitmap": "xbm",
    "image/x-xpixmap": "xpm",
    "message/rfc822": "eml mht mhtml",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/step": "step stp",
    "model/stl": "stl",
    "model/vnd.collada+xml": "dae",
    "model/vnd.usda": "usda",
    "model/vnd.usdz+zip": "usdz",
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "htm html shtml",
    "text/markdown": "markdown md",
    "text/plain": "ksh srt txt",
    "text/tab-separated-values": "tsv",
    "text/vcard": "vcf",
    "text/vnd.graphviz": "dot",
    "text/vnd.trolltech.linguist": "ts",
    "text/vtt": "vtt",
    "text/x-bibtex": "bib",
    "text/x-c++hdr": "hpp",
    "text/x-c++src": "cpp",
    "text/x-chdr": "h",
    "text/x-csrc": "c",
    "text/x-java": "java",
    "text/x-perl": "pl",
    "text/x-python": "py",
    "text/x-sh": "sh",
    "text/x-tex": "tex",
    "video/mp4": "m4v mp4",
    "video/mpeg": "mpe mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-mng": "mng",
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
