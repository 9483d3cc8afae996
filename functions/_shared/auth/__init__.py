"""Who is calling: tokens, the project's keys, and the throttle on refused credentials."""
