// node shoot.cjs PROMETHEUS PICTURE MINUTES [STATION]: one picture of the dashboard, by a headless Chromium.
// $LOOK: the folder with node_modules and the built page. Prints what each panel had, as JSON; 1 when one has an error.
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const puppeteer = require('puppeteer-core');

const LOOK = process.env.LOOK;
const DASHBOARD = path.join(__dirname, '..', 'dashboard.json');
const HTML = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css"><body style="margin:0"><div id="page"></div><script src="page.js"></script>';
const [WIDTH, HEIGHT, DRAWN_MS] = [1600, 1000, 60_000];

function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const icons = path.join(LOOK, 'node_modules/@grafana/ui/dist');
  const file = pathname === '/dashboard.json' ? DASHBOARD
    : path.join(pathname.startsWith('/public/') ? icons : LOOK, path.normalize(pathname));
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
  const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || 'chromium', args: ['--no-sandbox', '--hide-scrollbars'].map(String).slice(0) });
  try {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.error('page:', error.stack ?? error));
    page.on('console', (line) => line.type() === 'error' && console.error('console:', line.text()));
    await page.setViewport({ width: WIDTH, height: HEIGHT });
    const words = new URLSearchParams({ prometheus, minutes, ...(station && { 'var-station': station }) });
    await page.goto(`http://127.0.0.1:${server.address().port}/?${words}`);
    await page.waitForFunction('window.drawn || window.failed', { timeout: DRAWN_MS });
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

main(process.argv.slice(2)).then((code) => { process.exitCode = code; }, (error) => {
  console.error(error);
  process.exitCode = 1;
});
