"""The rules of a site: _headers and _redirects, as Netlify and Cloudflare read them. Pure."""
