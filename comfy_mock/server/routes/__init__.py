"""The HTTP routes of the real server (protocol 2.1): each module has a list `ENDPOINTS`."""
