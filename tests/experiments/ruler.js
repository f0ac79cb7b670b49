// Measures the pages in the frames of this one, and leaves what it finds as JSON in its body.
const linear = v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const rgb = text => text.match(/[\d.]+/g).slice(0, 3).map(v => linear(v / 255));
const light = text => { const [r, g, b] = rgb(text); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const box = of => of.getBoundingClientRect();
const named = of => `${of.tagName} ${of.textContent.trim().slice(0, 40)}`;
const overlap = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;

function measure(frame) {
  const page = frame.contentDocument, width = frame.clientWidth;
  page.querySelectorAll("details").forEach(e => { e.open = true; });
  const style = of => frame.contentWindow.getComputedStyle(of);
  const paper = style(page.body).backgroundColor;
  const seen = [...page.querySelectorAll("body *")].filter(e => e.getClientRects().length && !e.closest("defs"));
  const wordy = seen.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  const texts = wordy.filter(e => e.tagName === "text");
  const ground = e => (e.closest("pre") ? style(e.closest("pre")).backgroundColor : paper);
  const colour = e => (e.tagName === "text" ? style(e).fill : style(e).color);
  const zoom = svg => box(svg).width / svg.viewBox.baseVal.width;
  const free = seen.filter(e => !e.closest("pre, table") && !e.closest("svg g") || e.tagName === "text");
  const drawn = [...page.querySelectorAll("[role=img]")].map(e => [...e.querySelectorAll("svg")].filter(s => box(s).width));
  return {
    name: frame.title, width, paper, scroll: page.documentElement.scrollWidth,
    pictures: drawn.map(svgs => svgs.map(svg => [box(svg).width, box(svg).height])),
    empty: seen.filter(e => e.tagName === "image" && (box(e).width < 1 || box(e).height < 1)).length,
    beyond: free.filter(e => box(e).right > width + 1 || box(e).left < -1).map(named),
    small: texts.filter(e => parseFloat(style(e).fontSize) * zoom(e.closest("svg")) < 8.5).map(named),
    faint: wordy.filter(e => contrast(colour(e), ground(e)) < 4.5).map(named),
    clash: texts.flatMap((a, i) => texts.slice(0, i)
      .filter(b => a.closest("svg") === b.closest("svg") && overlap(box(a), box(b))).map(b => [named(a), named(b)])),
  };
}

onload = () => { document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measure)); };
