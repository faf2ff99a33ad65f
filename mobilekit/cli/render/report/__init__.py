"""A bundle or a sweep as one page of HTML: nothing is loaded from elsewhere, so that it can be sent and archived."""
