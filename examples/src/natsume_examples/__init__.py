"""Two task packages as an application would write them, and a demo that runs them."""
