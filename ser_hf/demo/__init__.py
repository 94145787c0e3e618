"""The pages of the Gradio demo, one module each; `page.py` puts them together and serves them."""
