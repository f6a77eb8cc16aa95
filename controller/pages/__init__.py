"""What people read in a browser: `headgate report --html`, and the daemon's own pages."""
