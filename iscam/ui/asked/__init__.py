"""What is asked of the page: events, links and the public endpoint, checked and turned into work."""
