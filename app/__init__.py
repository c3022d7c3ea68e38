"""The caption browser: a Streamlit page on this machine."""
