"""The chatbot over the data platform's handbook, once per version: `diff v2.py v3.py` is a release.

Each version is one self-contained file, logged as "models from code": what MLflow stores and what
the endpoint runs is that file and nothing else. They repeat one another as four commits of one file
do; a shared module would let a newer version change what an older one does.
"""
