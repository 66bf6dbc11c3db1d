// Shows /v1/openapi.json. Everything from the document is set as text, never as markup.
'use strict';

const METHODS = ['get', 'post', 'patch', 'put', 'delete'];

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Paragraphs with **strong** and `code`.
function prose(text) {
  const all = element('div');
  for (const paragraph of (text || '').split('\n\n')) {
    const made = element('p');
    for (const part of paragraph.split(/(\*\*[^*]+\*\*|`[^`]+`)/)) {
      if (part.startsWith('**')) made.append(element('strong', {}, part.slice(2, -2)));
      else if (part.startsWith('`')) made.append(element('code', {}, part.slice(1, -1)));
      else made.append(part);
    }
    all.append(made);
  }
  return all;
}

const resolve = (api, schema) =>
  schema && schema.$ref ? schema.$ref.replace('#/', '').split('/').reduce((at, key) => at && at[key], api) || {} : schema || {};

// The properties of a schema, those that it takes from others included.
function properties(api, schema) {
  const own = resolve(api, schema);
  const found = { ...own.properties };
  const required = new Set(own.required || []);
  for (const part of own.allOf || []) {
    const inner = properties(api, part);
    Object.assign(found, inner.found);
    inner.required.forEach((name) => required.add(name));
  }
  for (const part of own.oneOf || own.anyOf || []) {
    if (resolve(api, part).type !== 'null') Object.assign(found, properties(api, part).found);
  }
  return { found, required };
}

function typeName(api, schema) {
  if (!schema) return '';
  if (schema.$ref) return schema.$ref.split('/').pop();
  const choices = schema.oneOf || schema.anyOf || schema.allOf;
  if (choices) return choices.map((part) => typeName(api, part)).join(' | ');
  const type = [].concat(schema.type || 'any').join(' | ');
  return schema.items ? `${typeName(api, schema.items)}[]` : type;
}

function table(api, schema, depth) {
  const { found, required } = properties(api, schema);
  const rows = Object.entries(found).map(([name, property]) => {
    const inner = property.items || property;
    const nested = (inner.$ref || inner.oneOf || inner.allOf || inner.properties) && depth < 4;
    const words = (property.enum || []).filter((word) => word !== null).join(' · ');
    const limits = ['minimum', 'maximum', 'maxLength'].filter((key) => key in property).map((key) => `${key} ${property[key]}`).join(', ');
    return element(
      'tr', {},
      element('td', {}, element('code', {}, name), required.has(name) ? element('strong', { title: 'required' }, ' *') : null),
      element('td', { class: 'dim' }, typeName(api, property)),
      element('td', {}, prose([property.description, words, limits].filter(Boolean).join('\n\n')), nested ? table(api, inner, depth + 1) : null),
    );
  });
  return rows.length ? element('table', {}, element('tbody', {}, ...rows)) : null;
}

function sample(api, schema, depth) {
  const own = resolve(api, schema);
  if ('example' in own) return own.example;
  if (own.enum) return own.enum[0];
  const { found } = properties(api, own);
  if (Object.keys(found).length && depth < 5) {
    return Object.fromEntries(Object.entries(found).map(([name, property]) => [name, sample(api, property, depth + 1)]));
  }
  if (own.format === 'date-time') return '2026-11-21T18:30:00.000Z';
  const types = [].concat(own.type || 'null');
  const type = types.includes('null') ? 'null' : types[0];
  if (type === 'array') return [sample(api, own.items, depth + 1)];
  return { string: '', integer: 0, number: 0, boolean: false, object: {} }[type] ?? null;
}

// What a request needs at least: what is required, and what has an example.
function request(api, schema) {
  const { found, required } = properties(api, schema);
  const wanted = Object.entries(found).filter(([name, property]) => required.has(name) || 'example' in property);
  return Object.fromEntries(wanted.map(([name, property]) => [name, sample(api, property, 0)]));
}

const pretty = (value) => element('pre', {}, JSON.stringify(value, null, 2));

function command(api, method, path, operation) {
  const body = operation.requestBody && operation.requestBody.content;
  const lines = [`curl -X ${method.toUpperCase()} ${location.origin}${path}`];
  const scheme = Object.keys((operation.security || [])[0] || {})[0];
  if (scheme === 'serverApi') lines.push('-u "$APP_KEY:$APP_SECRET"');
  else if (scheme) lines.push(`-H "Authorization: Bearer $${scheme === 'operatorApi' ? 'OPERATOR_TOKEN' : 'MEMBER_TOKEN'}"`);
  if (body && body['application/json']) {
    lines.push('-H "Content-Type: application/json"', `-d '${JSON.stringify(request(api, body['application/json'].schema))}'`);
  } else if (body) lines.push('--data-binary @plugin.wasm');
  return element('pre', {}, lines.join(' \\\n  '));
}

function operationView(api, id, method, path, operation) {
  const inside = element('div', { class: 'inside' }, prose(operation.description));
  const callers = (operation.security || []).flatMap((entry) => Object.keys(entry));
  inside.append(element('p', { class: 'dim' }, callers.length ? `For: ${callers.join(', ')}` : 'Without credentials'));
  const parameters = (operation.parameters || []).map((parameter) => element(
    'tr', {},
    element('td', {}, element('code', {}, parameter.name), parameter.required ? element('strong', {}, ' *') : null),
    element('td', { class: 'dim' }, parameter.in),
    element('td', {}, prose(parameter.description || ((resolve(api, parameter.schema).enum || []).join(' · ')))),
  ));
  if (parameters.length) inside.append(element('h4', {}, 'Parameters'), element('table', {}, element('tbody', {}, ...parameters)));
  const body = operation.requestBody && operation.requestBody.content['application/json'];
  if (body) inside.append(element('h4', {}, 'Body'), table(api, body.schema, 0) || '');
  inside.append(element('h4', {}, 'Example'), command(api, method, path, operation));
  for (const [status, response] of Object.entries(operation.responses || {})) {
    if (status === 'default') continue;
    inside.append(element('h4', {}, `Answer ${status}`));
    for (const [kind, content] of Object.entries(response.content || {})) {
      inside.append(element('p', { class: 'dim' }, kind), pretty(sample(api, content.schema, 0)), table(api, content.schema, 0) || '');
    }
  }
  inside.append(element('p', { class: 'dim' }, 'Every other status comes with a problem (application/problem+json).'));
  const summary = element('summary', {}, element('span', { class: `method ${method}` }, method.toUpperCase()),
    element('span', { class: 'path' }, path), element('span', { class: 'dim' }, operation.summary || ''));
  return element('details', { id }, summary, inside);
}

function show(api) {
  const [main, contents] = [document.getElementById('main'), document.getElementById('contents')];
  main.append(prose(api.info.description));
  for (const [name, scheme] of Object.entries(api.components.securitySchemes || {})) {
    main.append(element('p', { class: 'dim' }, element('code', {}, name), ` ${scheme.description || ''}`));
  }
  for (const tag of api.tags || []) {
    main.append(element('h2', {}, tag.name), prose(tag.description));
    contents.append(element('h4', {}, tag.name));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (!operation || !(operation.tags || []).includes(tag.name)) continue;
        const id = `${method}${path.replace(/[^a-zA-Z0-9]+/g, '-')}`;
        main.append(operationView(api, id, method, path, operation));
        contents.append(element('a', { href: `#${id}` }, operation.summary || path));
      }
    }
  }
  const open = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  window.addEventListener('hashchange', open);
  document.getElementById('filter').addEventListener('input', (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const link of contents.querySelectorAll('a')) {
      const target = document.getElementById(link.hash.slice(1));
      const hidden = !target.textContent.toLowerCase().includes(wanted);
      link.classList.toggle('hidden', hidden);
      target.classList.toggle('hidden', hidden);
    }
  });
  open();
}

fetch('/v1/openapi.json')
  .then((response) => response.json())
  .then(show)
  .catch(() => document.getElementById('main').append(element('p', {}, 'The OpenAPI document could not be loaded.')));
