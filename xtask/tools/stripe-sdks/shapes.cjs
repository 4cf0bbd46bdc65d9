// The emulator's objects against Stripe's published types: every field the types ask for is there with the right type
// and value, and none is there that they do not know. The types come with the SDKs, one per API version.
// Run: node shapes.cjs FOLDER_WITH_node_modules http://127.0.0.1:PORT FOLDER_OF_TYPESCRIPT OLD_VERSION
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Stripe, base, client, control, home } = require('./harness.cjs');

const [typescript, old] = process.argv.slice(4);

// What Stripe sends and its published types leave out; taken away before the check. A field is written with the kind of
// its object and the parts it lies in, as many of them as it takes.
const UNPUBLISHED = ['subscription.plan', 'subscription.quantity', 'list.total_count'];

// What Stripe has added since the old version, to objects of every version: its types do not know it.
const ADDED = [
  'automatic_tax.disabled_reason', 'automatic_tax.provider', 'billing_details.tax_id',
  'billing_portal.configuration.name', 'cancellation_details.feedback_option', 'cancellation_reason.feedback_options',
  'card.regulated_status', 'checkout.session.adaptive_pricing', 'checkout.session.allowed_payment_method_types',
  'checkout.session.collected_information', 'checkout.session.discounts', 'checkout.session.integration_identifier',
  'checkout.session.managed_payments', 'checkout.session.origin_context', 'checkout.session.permissions',
  'checkout.session.wallet_options', 'customer_details.business_name', 'customer_details.individual_name',
  'end_behavior.billing_cycle_anchor', 'features.subscription_pause', 'invoice.total_pretax_credit_amounts',
  'subscription.invoice_settings.custom_fields', 'subscription.invoice_settings.description',
  'subscription.invoice_settings.footer',
  'item.adjustable_quantity', 'item.metadata', 'line_item.pretax_credit_amounts', 'line_item.quantity_decimal',
  'payment_intent.allowed_payment_method_types', 'payment_intent.excluded_payment_method_types',
  'payment_intent.managed_payments', 'payment_intent.payment_record',
  'payment_method_update.payment_method_configuration', 'product.tax_details',
  'subscription.billing_schedules',
  'subscription.managed_payments', 'subscription_item.current_trial', 'subscription_update.billing_cycle_anchor',
  'subscription_update.schedule_at_period_end', 'subscription_update.trial_update_behavior',
];

// Types the SDKs change on the way in: a decimal is a text in JSON.
const isDecimal = (name) => name.endsWith('_decimal') || name === 'unit_amount_excluding_tax';

function literal(value, dropped, where = '') {
  if (isDecimal(where.split('.').at(-1))) {
    return 'null as any';
  }
  if (Array.isArray(value)) {
    return `[${value.map((item) => literal(item, dropped, where)).join(', ')}]`;
  }
  if (value === null || typeof value !== 'object') {
    return JSON.stringify(value);
  }
  const owner = value.object ?? where;
  const is = (field) => (known) => `.${owner}.${field}`.endsWith(`.${known}`);
  const stays = ([field]) => ![...dropped, ...UNPUBLISHED].some(is(field));
  const written = ([field, inner]) => `${JSON.stringify(field)}: ${literal(inner, dropped, `${owner}.${field}`)}`;
  return `{${Object.entries(value).filter(stays).map(written).join(', ')}}`;
}

async function get(where, version) {
  const headers = { authorization: 'Bearer sk_test_shapes', 'stripe-version': version };
  const answer = await fetch(`${base}${where}`, { headers });
  if (!answer.ok) {
    throw new Error(`${where}: ${answer.status} ${await answer.text()}`);
  }
  return answer.json();
}

// Events keep the account's version whatever version asks, and thin events have no other: checked against new types.
async function events() {
  const found = {};
  for (const type of ['customer.subscription.updated', 'invoice.paid', 'checkout.session.completed',
    'entitlements.active_entitlement_summary.updated', 'payment_intent.requires_action',
    'billing_portal.session.created']) {
    const [event] = (await get(`/v1/events?type=${type}&limit=1`, Stripe.API_VERSION)).data;
    found[`event_${type.replaceAll('.', '_')}`] = ['Event', `/v1/events/${event.id}`];
  }
  const { data } = await get('/v2/core/events?limit=1', Stripe.API_VERSION);
  // The SDK adds the method that fetches the object.
  const thin = "V2.Core.Event & { type: 'v1.checkout.session.completed' }, 'fetchRelatedObject'>";
  found.thin = [`Omit<Stripe.${thin}`, `/v2/core/events/${data[0].id}`];
  const destinations = await get('/v2/core/event_destinations', Stripe.API_VERSION);
  found.destination = ['V2.Core.EventDestination', `/v2/core/event_destinations/${destinations.data[0].id}`];
  return found;
}

// One of every object, in the states that fill most of its fields.
async function things() {
  const api = client();
  const card = { payment_method: 'pm_card_visa', invoice_settings: { default_payment_method: 'pm_card_visa' } };
  const product = await api.products.create({ name: 'Shape', metadata: { a: 'b' } });
  const recurring = { interval: 'month' };
  const price = await api.prices.create({ product: product.id, currency: 'eur', unit_amount: 900, recurring });
  const feature = await api.entitlements.features.create({ lookup_key: `shape-${product.id}`, name: 'Shape' });
  const attached = await api.products.createFeature(product.id, { entitlement_feature: feature.id });
  const clock = await api.testHelpers.testClocks.create({ frozen_time: 1_700_000_000, name: 'shape' });
  const customer = await api.customers.create({ email: 'a@example.org', address: { city: 'Graz' }, ...card });
  const items = [{ price: price.id }];
  const subscription = await api.subscriptions.create({ customer: customer.id, items });
  const trial = await api.subscriptions.create({ customer: customer.id, items, trial_period_days: 7 });
  await api.subscriptions.update(trial.id, { cancel_at_period_end: true });
  const careful = 'pm_card_authenticationRequired';
  const waiting = await api.customers.create({
    payment_method: careful, invoice_settings: { default_payment_method: careful },
  });
  const incomplete = await api.subscriptions.create({ customer: waiting.id, items });
  const url = 'http://127.0.0.1:9/hook';
  await api.v2.core.eventDestinations.create({
    name: 'shape', type: 'webhook_endpoint', event_payload: 'thin', enabled_events: ['v1.checkout.session.completed'],
    webhook_endpoint: { url },
  });
  const endpoint = await api.webhookEndpoints.create({ url, enabled_events: ['*'], api_version: old });
  const checkout = { mode: 'subscription', line_items: [{ price: price.id }], success_url: 'https://shop.example/' };
  const open = await api.checkout.sessions.create(checkout);
  const complete = await api.checkout.sessions.create(checkout);
  await control(`checkout/sessions/${complete.id}/complete`, {});
  const portal = await api.billingPortal.sessions.create({ customer: customer.id });
  const [intent] = (await api.paymentIntents.list({ customer: waiting.id })).data;
  const [method] = (await api.customers.listPaymentMethods(customer.id)).data;
  const [entitlement] = (await api.entitlements.activeEntitlements.list({ customer: customer.id })).data;
  const invoice = subscription.latest_invoice;
  const whole = 'expand[]=customer&expand[]=items.data.price.product&expand[]=default_payment_method';
  return {
    product: ['Product', `/v1/products/${product.id}`],
    price: ['Price', `/v1/prices/${price.id}?expand[]=product`],
    customer: ['Customer', `/v1/customers/${customer.id}`],
    method: ['PaymentMethod', `/v1/payment_methods/${method.id}`],
    subscription: ['Subscription', `/v1/subscriptions/${subscription.id}?${whole}`],
    trial: ['Subscription', `/v1/subscriptions/${trial.id}?expand[]=latest_invoice`],
    incomplete: ['Subscription', `/v1/subscriptions/${incomplete.id}?expand[]=latest_invoice`],
    invoice: ['Invoice', `/v1/invoices/${invoice}?expand[]=customer&expand[]=lines`],
    intent: ['PaymentIntent', `/v1/payment_intents/${intent.id}`],
    clock: ['TestHelpers.TestClock', `/v1/test_helpers/test_clocks/${clock.id}`],
    endpoint: ['WebhookEndpoint', `/v1/webhook_endpoints/${endpoint.id}`],
    openSession: ['Checkout.Session', `/v1/checkout/sessions/${open.id}`],
    completeSession: ['Checkout.Session', `/v1/checkout/sessions/${complete.id}?expand[]=line_items`],
    configuration: ['BillingPortal.Configuration', `/v1/billing_portal/configurations/${portal.configuration}`],
    feature: ['Entitlements.Feature', `/v1/entitlements/features/${feature.id}`],
    attached: ['ProductFeature', `/v1/products/${product.id}/features/${attached.id}`],
    entitlement: ['Entitlements.ActiveEntitlement', `/v1/entitlements/active_entitlements/${entitlement.id}`],
    subscriptions: ['ApiList<Stripe.Subscription>', '/v1/subscriptions?limit=3'],
    configurations: ['ApiList<Stripe.BillingPortal.Configuration>', '/v1/billing_portal/configurations'],
  };
}

function compile(source) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'stripe-shapes-'));
  const file = path.join(folder, 'shapes.ts');
  fs.writeFileSync(file, source);
  const compilerOptions = {
    noEmit: true, strict: true, skipLibCheck: true, target: 'es2022', module: 'preserve', types: [],
  };
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
  const compiler = path.join(typescript, 'node_modules/typescript/lib/tsc.js');
  try {
    execFileSync(process.execPath, [compiler, '--project', folder, '--pretty', 'false']);
    return '';
  } catch (error) {
    return error.stdout?.toString() || `${error}`;
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

// The types of the older SDK are declared for the name `stripe`, those of the newer one are found by path.
function preamble(version) {
  const folder = (name) => path.join(home, 'node_modules', name);
  return version === old
    ? [`/// <reference path="${folder(`stripe-${old}`)}/types/index.d.ts" />`, "import type Stripe from 'stripe';"]
    : [`import type Stripe from '${folder('stripe')}';`];
}

async function main() {
  let failed = 0;
  const objects = await things();
  for (const version of [Stripe.API_VERSION, old]) {
    const all = version === old ? objects : { ...objects, ...(await events()) };
    const lines = preamble(version);
    const start = lines.length;
    const names = Object.keys(all);
    for (const name of names) {
      const [type, where] = all[name];
      lines.push(`export const ${name}: ${type.startsWith('Omit<') ? '' : 'Stripe.'}${type} = ${literal(await get(where, version), version === old ? ADDED : [])};`);
    }
    const output = compile(`${lines.join('\n')}\n`);
    const found = output.split('\n');
    if (output !== '' && !output.includes('shapes.ts(')) {
      throw new Error(output);
    }
    for (const [at, name] of names.entries()) {
      const problems = found.filter((line) => line.includes(`shapes.ts(${start + at + 1},`));
      const shown = `shape of ${version}: ${all[name][0]} (${name})`;
      failed += problems.length === 0 ? 0 : 1;
      console.log(problems.length === 0 ? `ok      ${shown}` : `FAILED  ${shown}\n${problems.join('\n')}`);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}

main().catch((error) => {
  console.log(`FAILED  shapes\n${error.stack ?? error}`);
  process.exit(1);
});
