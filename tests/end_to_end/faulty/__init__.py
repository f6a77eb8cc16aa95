"""The demo's chatbot with one fault or another: material for what a release must be stopped for."""
