"""What is asked of the page: events, links and the public endpoint, checked, and turned into work."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
