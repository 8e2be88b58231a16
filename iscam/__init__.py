"""IS-CAM and its company: what did an image classifier look at?

>>> import iscam
>>> explainer = iscam.Explainer(iscam.load_model("photo11"))
>>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
>>> explainer.explain(analysis, method="is-cam").category
'cat'

`iscam.adopt` takes any network of one's own.

Nothing heavy is loaded before it is needed: `import iscam` does not import torch. What this package and its wings hand on
is listed in the `__init__.pyi` beside each `__init__.py`.
"""

import os

import lazy_loader

# How long a thread of GNU OpenMP spins before it sleeps, read when torch is loaded. On a machine with as many busy threads
# as cores (a page beside its networks), the default lets threads wait for each other many times longer than they work.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
