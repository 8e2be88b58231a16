"""What is done for a page: the one compute thread, its work and its news. Nothing here knows gradio, and no torch is
loaded before a job needs it."""
