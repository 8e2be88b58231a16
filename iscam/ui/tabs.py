"""The table of tabs, in their order. A tab is its face (`seen/`), its study (`done/`) if it has one, and its row here."""

from __future__ import annotations

from .asked import several as of_several
from .asked.pack import offered
from .asked.tab import Tab, Tabs
from .done import classes as of_classes
from .done import faithfulness as of_faithfulness
from .done import integration as of_integration
from .done import layers as of_layers
from .done import models as of_models
from .done import trial as of_trial
from .seen import about, classes, compare, export, faithfulness, integration, layers, models, several, trial

TABS: Tabs = {
    "compare": Tab(compare.FACE),
    "classes": Tab(classes.FACE, of_classes.STUDY),
    "integration": Tab(integration.FACE, of_integration.STUDY),
    "layers": Tab(layers.FACE, of_layers.STUDY),
    "models": Tab(models.FACE, of_models.STUDY),
    "several": Tab(several.FACE, of_several.STUDY, photo=of_several.shown),
    "faithfulness": Tab(faithfulness.FACE, of_faithfulness.STUDY),
    "test": Tab(trial.FACE, of_trial.STUDY),
    "export": Tab(export.FACE, at_once=offered),
    "about": Tab(about.FACE),
}
