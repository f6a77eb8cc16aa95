"""The demo's cast: a chatbot in four versions, the team that registers it, the users who ask it.

Headgate is not in here. The team and the users know the workspace only, through the clients that
any team and any user has.
"""
