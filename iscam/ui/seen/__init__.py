"""What is seen of the page: what is on it, in which words and pictures. Nothing happens here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
