"""What is done for a page: the one compute thread, its work and its news. Nothing here knows gradio."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
