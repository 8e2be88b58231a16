from .options import make_parser as make_parser
