"""What a file is, by its first bytes: the formats that are read, and the names of those that are
not. Pure, without Pillow.
"""

from __future__ import annotations

import re

from zfjax.data import tiff
from zfjax.data.annotations import JPEG_START, PNG_START

READ = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""The formats that are read, as Pillow calls them; "PPM" stands for PPM, PGM and PBM."""
READ_WORDS = "JPEG, PNG, GIF, WebP, BMP, TIFF and PPM/PGM/PBM"
"""The same for people."""

_NETPBM = re.compile(rb"P[1-6](?:\s|#[^\r\n]*[\r\n])+\d")
_NETPBM_COMMENTS = 64 << 10

_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"crx ": "CR3 (a camera's raw file)",
    b"qt  ": "a QuickTime video",
}
"""By the brand of a file of ISO's base media format."""
_PARTS_OF_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

_STARTS = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"II\xbc": "JPEG XR",
    **{b"\0\0\1\0%c\0" % count: "an icon (ICO)" for count in range(1, 64)},
    **{b"\0\0\2\0%c\0" % count: "a cursor (CUR)" for count in range(1, 64)},
    b"icns": "an icon (ICNS)",
    b"8BPS": "PSD (a Photoshop file)",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript (EPS)",
    b"gimp xcf": "XCF (a GIMP file)",
    b"P7\n": "PAM",
    b"P7 332": "XV thumbnail",
    b"PF\n": "PFM",
    b"Pf\n": "PFM",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"SIMPLE  =": "FITS",
    b"SDPX": "DPX",
    b"XPDS": "DPX",
    b"\x8aMNG\r\n": "MNG",
    b"\x8bJNG\r\n": "JNG",
    b"\x59\xa6\x6a\x95": "Sun raster",
    b"\x01\xda": "SGI",
    b"\x0a\x05\x01": "PCX",
    b"AT&TFORM": "DjVu",
    b"BPG\xfb": "BPG",
    b"FUJIFILMCCD-RAW": "RAF (a camera's raw file)",
    b"II\x1a\0\0\0HEAPCCDR": "CRW (a camera's raw file)",
    b"IIRO": "ORF (a camera's raw file)",
    b"IIRS": "ORF (a camera's raw file)",
    b"MMOR": "ORF (a camera's raw file)",
    b"IIU\0": "RW2 (a camera's raw file)",
    b"FOVb": "X3F (a camera's raw file)",
    b"\0MRM": "MRW (a camera's raw file)",
    b"\x1a\x45\xdf\xa3": "a Matroska or WebM video",
    b"OggS": "Ogg audio or video",
    b"FLV\1": "a Flash video",
    b"\0\0\1\xba": "an MPEG video",
    b"\0\0\1\xb3": "an MPEG video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a Windows Media video",
    b"ID3": "MP3 audio",
    b"fLaC": "FLAC audio",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\7": "a RAR archive",
    b"MATLAB 5.0 MAT-file": "MATLAB (MAT)",
    b"\x80\4\x95": "a Python pickle",
    b"\x93NUMPY": "a NumPy array (NPY)",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"PAR1": "Parquet",
    b"SQLite format 3\0": "an SQLite database",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"\x5c\x01\0\0\0\0\0\0n\x1c\xf0\0": "NIfTI",
}
_RIFFS = {b"AVI ": "an AVI video", b"WAVE": "WAV audio"}
_UNREAD, _NO_IMAGE = ", which zfjax does not read", "not an image"
_TEXT_LETTERS = frozenset(range(0x20, 0x100)) - {0x7F} | frozenset(b"\t\n\r\f\x1b")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def format_of(data: bytes) -> str | None:
    """The format of READ that bytes begin as; None for all else."""
    if data.startswith(JPEG_START):
        return "JPEG"
    if data.startswith(PNG_START):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(tiff.STARTS):
        return "TIFF"
    if _NETPBM.match(data[:_NETPBM_COMMENTS]):
        return "PPM"
    # Two letters may begin any text: a bitmap has the length of its header from its 15th byte on.
    return "BMP" if data[:2] == b"BM" and len(data) > 18 and data[15:18] == b"\0\0\0" else None


def what_else(data: bytes) -> str:
    """Why bytes that begin as no format of READ are not read, by what they are: "HEIC, which zfjax
    does not read", "not an image but text", "not an image" where nothing tells.
    """
    if name := _other_format(data):
        return f"{name}{_UNREAD}"
    if data.startswith(PNG_START[:4]):
        return f"{_NO_IMAGE} but a PNG whose first bytes are damaged"
    if name := _kind_of_text(data):
        return f"{_NO_IMAGE} but {name}"
    return _NO_IMAGE


def kind_of(data: bytes) -> str | None:
    """What bytes are, read or not ("JPEG", "HDF5", "text", "an HTML page"); None where nothing
    tells.
    """
    return format_of(data) or _other_format(data) or _kind_of_text(data)


def is_other(reason: str) -> bool:
    """Whether a reason is one of ``what_else``."""
    return reason.endswith(_UNREAD) or reason.startswith(_NO_IMAGE)


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[4:8] in _PARTS_OF_QUICKTIME:
        return "a QuickTime video"
    if data[:4] == b"RIFF":
        return _RIFFS.get(data[8:12])
    if data[128:132] == b"DICM":
        return "DICOM"
    if data[257:262] == b"ustar":
        return "a tar archive"
    if data[344:348] in (b"n+1\0", b"ni1\0"):
        return "NIfTI"
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        return "TGA"
    if data[:1] == data[188:189] == data[376:377] == b"G":
        return "an MPEG video"
    return next((name for start, name in _STARTS.items() if data.startswith(start)), None)


def _brand(data: bytes) -> str:
    """By the main brand of a media file; where that is general, by those that it is said to suit
    too.
    """
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, min(len(data), 64), 4))]
    names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    if brands[0] in (b"mif1", b"msf1"):  # any picture so kept
        names.sort(key=lambda name: name == "HEIF")
    return names[0] if names else "a video (MP4)"


def _kind_of_text(data: bytes) -> str | None:
    """What a text is; None for bytes that are none."""
    head = data[:4096]
    if head.startswith(_MARKS[1:]):
        head = head[2:].replace(b"\0", b"")
    head = head.removeprefix(_MARKS[0])
    if not head.strip():
        return "empty text" if head else None
    if head.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer to one (`git lfs pull` fetches it)"
    if not _TEXT_LETTERS.issuperset(head):
        return None
    word = head.lstrip()[:1024].lower()
    if b"<svg" in word:
        return "SVG, which is drawn by commands"
    if word.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in word:
        return "an HTML page"
    if word.startswith(b"<?xml"):
        return "XML"
    if word.startswith((b"/* xpm", b"! xpm")):
        return "XPM text"
    try:
        head[: head.rfind(b"\n") + 1 or None if len(data) > 4096 else None].decode("utf-8")
    except UnicodeDecodeError:
        plain = sum(letter < 0x80 for letter in head)
        return "text" if plain > 0.7 * len(head) else None
    return "text"
