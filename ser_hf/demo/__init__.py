"""The pages of the Gradio demo: `page.py` puts them together, `analyse.py` is the one for a single clip."""
