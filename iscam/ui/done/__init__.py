"""What is done for a page: the compute process, the orders it carries out, their jobs and news. Nothing here knows gradio, and
what the server imports of it loads no torch."""
