from .report import write_report as write_report
from .run import benchmark as benchmark
