// node shoot.cjs PROMETHEUS PICTURE MINUTES [STATION]: one picture of the dashboard, by a headless Chromium.
// $LOOK: the folder with node_modules and the built page. Prints what each panel had, as JSON; 1 when one has an error.
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const puppeteer = require('puppeteer-core');

const LOOK = process.env.LOOK;
const DASHBOARD = path.join(__dirname, '..', 'dashboard.json');
const HTML = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="page.css"><body style="margin:0"><div id="page"></div><script src="page.js"></script>';
const [WIDTH, HEIGHT, PATIENCE_MS] = [1600, 1000, 120_000];

const FONTS = { Regular: 400, Medium: 500 }; // Grafana's application has these, @grafana/ui only asks for them

function found(pathname) {
  const modules = path.join(LOOK, 'node_modules');
  const [, font] = pathname.match(/^\/public\/fonts\/inter\/Inter-(\w+)\.woff2$/) ?? [];
  if (font) {
    return path.join(modules, `@fontsource/inter/files/inter-latin-${FONTS[font]}-normal.woff2`);
  }
  const folder = pathname.startsWith('/public/') ? path.join(modules, '@grafana/ui/dist') : LOOK;
  return pathname === '/dashboard.json' ? DASHBOARD : path.join(folder, path.normalize(pathname.replace('/build/', '/')));
}

function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const file = found(pathname);
  const kind = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }[path.extname(file)];
  if (pathname === '/') {
    response.writeHead(200, { 'content-type': 'text/html' }).end(HTML);
  } else if (fs.existsSync(file)) {
    response.writeHead(200, kind && { 'content-type': kind }).end(fs.readFileSync(file));
  } else {
    response.writeHead(404).end();
  }
}

async function main([prometheus, picture, minutes, station]) {
  const server = http.createServer(serve).listen(0, '127.0.0.1');
  // No sandbox: root has none, and the page is our own.
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium', timeout: PATIENCE_MS, protocolTimeout: PATIENCE_MS,
    args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'],
  });
  try {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.error('page:', error.stack ?? error));
    page.on('console', (line) => line.type() === 'error' && console.error('console:', line.text(), line.location().url));
    await page.setViewport({ width: WIDTH, height: HEIGHT });
    const words = new URLSearchParams({ prometheus, minutes, ...(station && { 'var-station': station }) });
    await page.goto(`http://127.0.0.1:${server.address().port}/?${words}`);
    await page.waitForFunction('window.drawn || window.failed', { timeout: PATIENCE_MS });
    const failed = await page.evaluate('window.failed');
    if (failed) {
      throw new Error(failed);
    }
    await page.screenshot({ path: picture, fullPage: true });
    const drawn = await page.evaluate('window.drawn');
    console.log(JSON.stringify(drawn));
    return drawn.some(({ error }) => error) ? 1 : 0;
  } finally {
    await browser.close();
    server.close();
  }
}

main(process.argv.slice(2)).then((code) => process.exit(code), (error) => {
  console.error(error);
  process.exit(1);
});
