"""What the service tells monitoring: metrics, and traces of jobs."""
