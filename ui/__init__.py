"""The Gradio page: what people see, and the few handlers between it and ``jobs``."""
