from .checks import Look as Look
from .handlers import Handlers as Handlers
