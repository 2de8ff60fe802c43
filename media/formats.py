"""Which container formats may be opened, and what to say about the rest.

FFmpeg knows some 350 formats. Among them are playlists that open other files (``concat``, ``hls``,
``dash``), pictures and numbered series of pictures, capture devices, and subtitle and plain-text
formats that turn any text file into "media". A whitelist is the only option of libavformat that
keeps them out: ``protocol_whitelist`` alone lets an ``ffconcat`` text file read its neighbours.
"""

from __future__ import annotations

from core.errors import EncryptedMedia, InputError, UnreadableMedia

# One demuxer name per line of thought; comments say what people call the files.
DEMUXERS: tuple[str, ...] = (
    # uncompressed and lossless audio
    *("wav", "w64", "aiff", "au", "caf", "voc", "ircam", "nistsphere", "sox", "pvf"),
    *("flac", "wv", "ape", "tta", "tak", "shn", "mpc", "mpc8", "osq", "bonk", "wsd", "dsf", "iff"),
    # lossy audio as a bare stream
    *("mp3", "aac", "loas", "ac3", "ac4", "eac3", "dts", "dtshd", "mlp", "truehd", "qoa"),
    # dictation machines and telephones
    *("amr", "amrnb", "amrwb", "gsm", "qcp", "dss", "act", "lc3"),
    # phones, browsers, cameras, meeting recorders: mov is also mp4, m4a, m4b, 3gp, 3g2
    *("mov", "matroska", "ogg", "avi", "flv", "asf", "xwma", "rm", "mpegts", "mpeg"),
    # broadcast, disc and camcorder
    *("mxf", "gxf", "dv", "nut", "nsv", "wtv", "dhav", "oma", "kux"),
)
"""Demuxer names (FFmpeg 8.1). None opens a second file, a device or the network, and each
recognises its files by their content; raw formats that a file name alone declares (``alaw``,
``g722``, ``s16le``) would turn any renamed file into noise."""

FORMAT_WHITELIST = ",".join(DEMUXERS)

_ARCHIVE_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)

_ENCRYPTED_MAGIC: tuple[bytes, ...] = (
    b"Salted__",
    b"age-encryption.org/",
    b"-----BEGIN PGP MESSAGE",
    b"-----BEGIN AGE ENCRYPTED",
)

HEAD_BYTES = 32
"""How much of a refused file :func:`why_refused` wants to see."""

_ZIP_FLAGS_OFFSET = 6
_ZIP_ENCRYPTED_BIT = 0x01


def why_refused(name: str, head: bytes) -> InputError:
    """The error for a file that no whitelisted demuxer takes, from its first bytes."""
    if head.startswith(_ENCRYPTED_MAGIC):
        return EncryptedMedia(f"{name} is encrypted.")
    for magic, kind in _ARCHIVE_MAGIC:
        if head.startswith(magic):
            return _archive(name, kind, head)
    if head.startswith((b"ffconcat", b"#EXTM3U", b"[playlist]", b"<?xml")):
        return UnreadableMedia(
            f"{name} is a list of other files, not a recording.",
            hint="Choose the recording itself.",
        )
    return UnreadableMedia(f"{name} is not an audio or video file that can be read.")


def _archive(name: str, kind: str, head: bytes) -> InputError:
    flags = head[_ZIP_FLAGS_OFFSET] if len(head) > _ZIP_FLAGS_OFFSET else 0
    if kind == "zip" and flags & _ZIP_ENCRYPTED_BIT:
        return EncryptedMedia(f"{name} is a zip archive with a password.")
    return UnreadableMedia(
        f"{name} is a {kind} archive, not a recording.",
        hint="Unpack it and choose the recording inside.",
    )
