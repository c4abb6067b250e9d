// Node's HTTP server with its lenient parser. Says its port, then every
// request, and everything that it took for one and could not read.

const http = require('http');

// What is said about a request whose sender has gone.
const GONE = ['ECONNRESET', 'EPIPE', 'HPE_INVALID_EOF_STATE'];

const server = http.createServer({ insecureHTTPParser: true }, (request, response) => {
  console.log(request.method, request.url);
  request.on('error', () => {});
  request.on('end', () => response.end('ok'));
  request.resume();
});
server.on('clientError', (error, socket) => {
  if (!GONE.includes(error.code)) console.log('BAD', error.code);
  socket.destroy();
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log('port', server.address().port));
