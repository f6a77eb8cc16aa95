"""The images, built and run on this machine as others would run them: `make image-check`."""
