from .benchmark import run_benchmark as run_benchmark
from .evaluate import evaluate_photos as evaluate_photos
from .explain import explain_photos as explain_photos
from .files import complain as complain
from .models import list_models as list_models
from .options import make_parser as make_parser
from .sanity import check_sanity as check_sanity
