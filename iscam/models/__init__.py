"""Networks, whatever they come from: listed, loaded, measured, and with the way a photo becomes their input."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
