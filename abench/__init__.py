"""abench: webbench reborn, pages and bytes per second told honestly."""
