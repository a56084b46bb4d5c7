export default {
  title: "Sample",
  cleanUrls: true,
  head: [["link", { rel: "icon", href: "data:," }]],
  themeConfig: { nav: [{ text: "Setup", link: "/guide/setup" }] },
};
