"""Pictures of instances, made from the settings."""

from pathlib import Path

from adapter.domain.previews import Previews
from adapter.protocols.transcoding.decoder_process import DecodingLimits
from adapter.protocols.transcoding.previews import DrawnPreviews, PreviewLimits
from adapter.settings import Settings

GB = 10**9


def make_previews(settings: Settings, scratch: Path) -> Previews | None:
    """Return what draws them, in a folder; None: nobody is to see any."""
    preview = settings.preview
    if not (settings.logging.phi if preview.enabled == "auto" else preview.enabled):
        return None
    process = DecodingLimits(memory_bytes=int(preview.memory_gb * GB), deadline_s=preview.timeout_s)
    limits = PreviewLimits(
        pixels_max=preview.max_pixels,
        instance_bytes_max=preview.max_instance_bytes,
        process=process,
    )
    return DrawnPreviews(limits, scratch)
