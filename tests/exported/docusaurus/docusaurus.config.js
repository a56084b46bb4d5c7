module.exports = {
  title: "Sample",
  url: "http://127.0.0.1",
  baseUrl: "/",
  headTags: [{ tagName: "link", attributes: { rel: "icon", href: "data:," } }],
  presets: [["classic", { docs: { routeBasePath: "/" }, blog: false, theme: {} }]],
};
