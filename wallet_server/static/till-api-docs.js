// Shows the till API's OpenAPI document with Swagger UI; a file of its own because inline scripts are forbidden.
const root = document.getElementById("till-api");
window.SwaggerUIBundle({
  domNode: root,
  url: root.dataset.document,
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // asks no other host
});
