"""Placeholder until the reader lands."""
from toolkit.manifest.model import Manifest
def read_manifest(*sets: bytes, services: tuple[str, ...] = ()) -> Manifest:
    """Placeholder."""
    raise NotImplementedError
