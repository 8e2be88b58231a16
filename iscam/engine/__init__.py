"""Passes of a network: what a layer does on a photo, what the network says of masked photos, and which passes are run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
