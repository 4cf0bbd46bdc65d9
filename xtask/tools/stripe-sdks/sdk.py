"""Stripe's official Python SDK, pointed at the emulator: everything the product and its tests rely on, checked on the
SDK's own typed objects and errors. Run: python sdk.py http://127.0.0.1:PORT"""

import threading
import time

import stripe

from harness import PATIENCE_S, Receiver, check, client, control, eventually, raises, run

api = client().v1


def price_of(amount, nickname="Plan", interval="month"):
    product = api.products.create({"name": nickname, "metadata": {"tier": nickname}})
    return api.prices.create(
        {"product": product.id, "currency": "eur", "unit_amount": amount, "recurring": {"interval": interval}}
    )


def customer_with(card="pm_card_visa", **more):
    default = {"default_payment_method": card}
    return api.customers.create({"email": "a@example.org", "payment_method": card, "invoice_settings": default, **more})


def subscribe(customer, price, **more):
    return api.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}], **more})


PRICE = price_of(900)


@check
def products_and_prices():
    product = api.products.create({"name": "Team", "description": "For teams"})
    assert isinstance(product, stripe.Product) and product.active and product.object == "product"
    assert api.products.update(product.id, {"metadata": {"a": "b"}}).metadata["a"] == "b"
    price = api.prices.create(
        {"product": product.id, "currency": "eur", "unit_amount": 500, "recurring": {"interval": "year"}}
    )
    assert isinstance(price, stripe.Price) and price.recurring.interval == "year" and price.unit_amount == 500
    listed = api.prices.list({"product": product.id, "active": True})
    assert isinstance(listed, stripe.ListObject) and [one.id for one in listed.data] == [price.id]
    assert api.prices.update(price.id, {"active": False}).active is False
    error = raises(stripe.InvalidRequestError, lambda: api.prices.create({"product": "prod_none", "currency": "eur", "unit_amount": 1}))
    assert (error.http_status, error.param, error.code) == (400, "product", "resource_missing")


@check
def customers_and_payment_methods():
    customer = api.customers.create({"email": "b@example.org", "metadata": {"user": "b"}})
    card = {"number": "5555555555554444", "exp_month": 8, "exp_year": 2035, "cvc": "314"}
    method = api.payment_methods.create({"type": "card", "card": card})
    assert isinstance(method, stripe.PaymentMethod) and method.card.brand == "mastercard"
    assert api.payment_methods.attach(method.id, {"customer": customer.id}).customer == customer.id
    settings = {"invoice_settings": {"default_payment_method": method.id}}
    assert api.customers.update(customer.id, settings).invoice_settings.default_payment_method == method.id
    assert [one.id for one in api.customers.payment_methods.list(customer.id).data] == [method.id]
    error = raises(stripe.CardError, lambda: api.payment_methods.attach("pm_card_chargeDeclined", {"customer": customer.id}))
    assert (error.code, error.error.decline_code, error.http_status) == ("card_declined", "generic_decline", 402)
    assert api.payment_methods.detach(method.id).customer is None
    assert api.customers.delete(customer.id).deleted is True
    assert api.customers.retrieve(customer.id).deleted is True


@check
def a_subscription_is_created_changed_and_canceled():
    bigger = price_of(1900, "Bigger")
    made = subscribe(customer_with(), PRICE, metadata={"synapse_tenant": "t"}, expand=["latest_invoice.payments"])
    assert isinstance(made, stripe.Subscription) and made.status == "active" and made.metadata["synapse_tenant"] == "t"
    assert isinstance(made.latest_invoice, stripe.Invoice) and made.latest_invoice.status == "paid"
    payment = made.latest_invoice.payments.data[0]
    assert isinstance(payment, stripe.InvoicePayment) and payment.status == "paid"
    item = made["items"].data[0]
    assert item.current_period_end > item.current_period_start
    items = [{"id": item.id, "price": bigger.id}]
    changed = api.subscriptions.update(made.id, {"items": items, "proration_behavior": "none"})
    assert changed["items"].data[0].price.id == bigger.id
    ending = api.subscriptions.update(made.id, {"cancel_at_period_end": True})
    assert ending.cancel_at_period_end and ending.cancel_at == item.current_period_end
    kept = api.subscriptions.update(made.id, {"cancel_at_period_end": False, "metadata": {"x": "y"}})
    assert kept.cancel_at is None and kept.metadata["x"] == "y"
    gone = api.subscriptions.cancel(made.id, {"cancellation_details": {"feedback": "too_expensive"}})
    assert gone.status == "canceled" and gone.cancellation_details.feedback == "too_expensive"
    error = raises(stripe.InvalidRequestError, lambda: api.subscriptions.cancel(made.id))
    assert (error.http_status, error.code) == (404, "resource_missing")
    found = api.subscriptions.list({"customer": made.customer, "status": "canceled", "price": bigger.id})
    assert [one.id for one in found.data] == [made.id]


@check
def a_trial():
    trial = subscribe(customer_with(), PRICE, trial_period_days=14)
    assert trial.status == "trialing" and trial.trial_end - trial.trial_start == 14 * 86_400
    assert api.subscriptions.update(trial.id, {"trial_end": "now"}).status == "active"


@check
def a_card_that_asks_for_authentication():
    customer = customer_with("pm_card_authenticationRequired")
    waiting = subscribe(customer, PRICE, expand=["latest_invoice.confirmation_secret"])
    assert waiting.status == "incomplete" and waiting.latest_invoice.confirmation_secret.client_secret
    intents = api.payment_intents.list({"customer": customer.id})
    assert intents.data[0].status == "requires_action" and intents.data[0].next_action.type == "use_stripe_sdk"
    control(f"payment_intents/{intents.data[0].id}/authenticate", {"succeed": True})
    assert api.subscriptions.retrieve(waiting.id).status == "active"
    wish = {"payment_behavior": "error_if_incomplete"}
    error = raises(stripe.CardError, lambda: subscribe(customer, PRICE, **wish))
    assert error.code == "subscription_payment_intent_requires_action"


@check
def a_card_that_fails():
    customer = customer_with("pm_card_chargeCustomerFail")
    failing = subscribe(customer, PRICE)
    assert failing.status == "incomplete"
    invoice = failing.latest_invoice
    error = raises(stripe.CardError, lambda: api.invoices.pay(invoice))
    assert (error.http_status, error.code, error.error.decline_code) == (402, "card_declined", "generic_decline")
    assert error.request_id.startswith("req_") and error.user_message == "Your card was declined."
    error = raises(stripe.CardError, lambda: subscribe(customer, PRICE, payment_behavior="error_if_incomplete"))
    assert error.code == "card_declined"
    assert api.invoices.pay(invoice, {"payment_method": "pm_card_visa"}).status == "paid"
    assert api.subscriptions.retrieve(failing.id).status == "active"


@check
def checkout():
    wish = {
        "mode": "subscription",
        "line_items": [{"price": PRICE.id, "quantity": 1}],
        "success_url": "https://shop.example/done",
        "client_reference_id": "order-7",
        "subscription_data": {"metadata": {"synapse_user": "u"}},
    }
    session = api.checkout.sessions.create(wish)
    assert isinstance(session, stripe.checkout.Session) and session.status == "open" and session.url
    control(f"checkout/sessions/{session.id}/complete", {"email": "payer@example.org"})
    done = api.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "line_items"]})
    assert done.status == "complete" and done.payment_status == "paid" and done.client_reference_id == "order-7"
    assert done.subscription.status == "active" and done.subscription.metadata["synapse_user"] == "u"
    assert done.line_items.data[0].price.id == PRICE.id and done.customer_details.email == "payer@example.org"
    assert api.checkout.sessions.expire(api.checkout.sessions.create(wish).id).status == "expired"


@check
def customer_portal():
    customer = customer_with()
    made = subscribe(customer, PRICE)
    wish = {"customer": customer.id, "return_url": "https://shop.example/"}
    session = api.billing_portal.sessions.create(wish)
    assert isinstance(session, stripe.billing_portal.Session) and session.url.startswith("http")
    control(f"portal/sessions/{session.id}/cancel", {})
    assert api.subscriptions.retrieve(made.id).cancel_at_period_end is True
    control(f"portal/sessions/{session.id}/resume", {})
    assert api.subscriptions.retrieve(made.id).cancel_at_period_end is False


@check
def entitlements():
    price = price_of(100, "Entitling")
    feature = api.entitlements.features.create({"lookup_key": f"relay-{price.id}", "name": "Relay"})
    api.products.features.create(price.product, {"entitlement_feature": feature.id})
    customer = customer_with()
    made = subscribe(customer, price)
    active = api.entitlements.active_entitlements.list({"customer": customer.id})
    assert isinstance(active.data[0], stripe.entitlements.ActiveEntitlement) and active.data[0].feature == feature.id
    api.subscriptions.cancel(made.id)
    assert api.entitlements.active_entitlements.list({"customer": customer.id}).data == []


@check
def lists_page_by_themselves():
    since = api.customers.create({"name": "first"}).created
    names = {api.customers.create({"name": f"n{number}"}).name for number in range(24)}
    page = api.events.list({"type": "customer.created", "limit": 7, "created": {"gte": since}})
    assert page.has_more and len(page.data) == 7 and isinstance(page.data[0], stripe.Event)
    events = list(page.auto_paging_iter())
    assert len(events) == len({event.id for event in events}) >= 25
    assert names <= {event.data.object.name for event in events}
    assert events == sorted(events, key=lambda event: -event.created)
    oldest = events[-1]
    back = api.events.list({"type": "customer.created", "limit": 5, "ending_before": oldest.id})
    assert [event.id for event in back.data] == [event.id for event in events[-6:-1]]
    again = list(back.auto_paging_iter())
    assert [event.id for event in again] == [event.id for event in reversed(events[:-1])]
    both = api.events.list({"types": ["customer.created", "product.created"], "limit": 100})
    assert {event.type for event in both.data} <= {"customer.created", "product.created"}
    assert api.events.retrieve(oldest.id).data.object.object == "customer"


@check
def idempotency_keys():
    key = {"idempotency_key": f"k-{time.time_ns()}"}
    first = api.customers.create({"name": "once"}, key)
    second = api.customers.create({"name": "once"}, key)
    assert second.id == first.id and second.last_response.headers["idempotent-replayed"] == "true"
    error = raises(stripe.IdempotencyError, lambda: api.customers.create({"name": "twice"}, key))
    assert error.http_status == 400 and "same parameters" in error.user_message
    busy = {"idempotency_key": f"busy-{time.time_ns()}"}
    control("faults", {"kind": "slow", "delay_ms": 4_000, "idempotency_key": busy["idempotency_key"]})
    slow = threading.Thread(target=lambda: client().v1.customers.create({"name": "slow"}, busy))
    slow.start()
    eventually("the slow request is under way", lambda: control("faults")["data"] == [])
    # The Python SDK has no class of its own for a key in use.
    error = raises(stripe.APIError, lambda: api.customers.create({"name": "slow"}, busy))
    assert (error.http_status, error.json_body["error"]["code"]) == (409, "idempotency_key_in_use")
    slow.join(PATIENCE_S)
    control("faults", {"kind": "error", "status": 500})
    broken = {"idempotency_key": f"broken-{time.time_ns()}"}
    raises(stripe.APIError, lambda: api.customers.create({"name": "x"}, broken))
    error = raises(stripe.APIError, lambda: api.customers.create({"name": "x"}, broken))
    assert error.http_status == 500 and error.headers["idempotent-replayed"] == "true", "stored 5xx are replayed"


@check
def errors_have_their_classes():
    error = raises(stripe.InvalidRequestError, lambda: api.subscriptions.create({"customer": "cus_none", "items": [{"price": PRICE.id}]}))
    assert (error.param, error.code) == ("customer", "resource_missing")
    error = raises(stripe.InvalidRequestError, lambda: api.customers.create({"nonsense": "1"}))
    assert (error.param, error.code) == ("nonsense", "parameter_unknown")
    live = stripe.StripeClient("sk_live_x", base_addresses=client()._requestor._options.base_addresses, max_network_retries=0)
    assert raises(stripe.AuthenticationError, lambda: live.v1.customers.list()).http_status == 401
    raises(stripe.PermissionError, lambda: api.customers.list(options={"stripe_account": "nobody"}))
    control("faults", {"kind": "error", "status": 429, "retry_after_s": 7})
    error = raises(stripe.RateLimitError, lambda: api.customers.list())
    assert error.headers["retry-after"] == "7" and error.headers["stripe-rate-limited-reason"]
    control("faults", {"kind": "html", "status": 502})
    error = raises(stripe.APIError, lambda: api.customers.list())
    assert error.http_status == 502 and "<html>" in error.http_body
    for fault in ({"kind": "reset"}, {"kind": "cut"}, {"kind": "timeout", "delay_ms": 100}):
        control("faults", fault)
        raises(stripe.APIConnectionError, lambda: api.customers.list())


@check
def the_sdk_retries_with_the_same_key():
    patient = client(max_network_retries=3).v1
    for fault in (
        {"kind": "error", "status": 503, "should_retry": True},
        {"kind": "error", "status": 429, "should_retry": True},
        {"kind": "reset"},
        {"kind": "reset", "stage": "after"},
    ):
        control("requests", method="DELETE")
        control("faults", {"method": "POST", "path": "/v1/customers", **fault})
        name = f"retried {time.time_ns()}"
        if fault.get("status") == 503:
            # Stripe keeps its own 5xx under the key, and tells the SDK not to ask again for nothing.
            raises(stripe.APIError, lambda: patient.customers.create({"name": name}))
            continue
        made = patient.customers.create({"name": name})
        assert made.name == name
        keys = control("requests")["by_key"]
        assert len(keys) == 1, keys
        counts = next(iter(keys.values()))
        assert counts["executed"] == 1 and counts["requests"] in (1, 2), (fault, counts)
    control("faults", {"kind": "error", "status": 500, "should_retry": False, "times": 2, "method": "GET"})
    raises(stripe.APIError, lambda: patient.customers.list())
    assert len(control("faults")["data"]) == 1, "the SDK did not ask again"


@check
def webhooks_are_verified_by_the_sdk():
    receiver, sdk = Receiver(), client()
    endpoint = api.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created", "customer.updated"]})
    assert isinstance(endpoint, stripe.WebhookEndpoint) and endpoint.secret.startswith("whsec_")
    made = api.customers.create({"name": "hooked"})
    body, signature = receiver.next()
    event = sdk.construct_event(body, signature, endpoint.secret)
    assert isinstance(event, stripe.Event) and event.type == "customer.created"
    assert isinstance(event.data.object, stripe.Customer) and event.data.object.id == made.id
    for bad in ((body, signature, "whsec_another"), (body + b" ", signature, endpoint.secret)):
        raises(stripe.SignatureVerificationError, lambda: sdk.construct_event(*bad))
    receiver.answers.put(500)
    api.customers.update(made.id, {"name": "again"})
    first, second = receiver.next(), receiver.next()
    assert first[0] == second[0], "retried with the same body"
    assert sdk.construct_event(*second, endpoint.secret).data.previous_attributes["name"] == "hooked"
    rolled = control(f"webhook_endpoints/{endpoint.id}/roll", {"expire_in_s": 3_600})
    control("delivery", {"copies": 2})
    api.customers.update(made.id, {"name": "rolled"})
    hooks = [receiver.next(), receiver.next()]
    for secret in (endpoint.secret, rolled["secret"]):
        assert len({sdk.construct_event(*hook, secret).id for hook in hooks}) == 1, "one event, twice"
    assert api.webhook_endpoints.update(endpoint.id, {"disabled": True}).status == "disabled"
    assert endpoint.id in [one.id for one in api.webhook_endpoints.list().data]
    assert api.webhook_endpoints.delete(endpoint.id).deleted is True
    receiver.close()


@check
def thin_events():
    receiver, sdk = Receiver(), client()
    destination = sdk.v2.core.event_destinations.create(
        {
            "name": "thin",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.customer.created"],
            "webhook_endpoint": {"url": receiver.url},
            "include": ["webhook_endpoint.signing_secret"],
        }
    )
    made = api.customers.create({"name": "thin"})
    body, signature = receiver.next()
    note = sdk.parse_event_notification(body, signature, destination.webhook_endpoint.signing_secret)
    assert note.type == "v1.customer.created" and note.related_object.id == made.id
    assert note.fetch_related_object().name == "thin"
    event = note.fetch_event()
    assert event.id == note.id and event.created
    assert note.id in [one.id for one in sdk.v2.core.events.list({"object_id": made.id}).data]
    sdk.v2.core.event_destinations.delete(destination.id)
    receiver.close()


@check
def test_clocks():
    clock = api.test_helpers.test_clocks.create({"frozen_time": 1_700_000_000, "name": "billing"})
    assert isinstance(clock, stripe.test_helpers.TestClock) and clock.status == "ready"
    customer = customer_with(test_clock=clock.id)
    made = subscribe(customer, PRICE)
    assert made.test_clock == clock.id and made.created == 1_700_000_000
    end = made["items"].data[0].current_period_end
    api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": end + 3_700})
    eventually("the clock arrives", lambda: api.test_helpers.test_clocks.retrieve(clock.id).status == "ready")
    renewed = api.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    assert renewed.latest_invoice.billing_reason == "subscription_cycle" and renewed.latest_invoice.status == "paid"
    api.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    bad = api.customers.payment_methods.list(customer.id).data[0]
    api.customers.update(customer.id, {"invoice_settings": {"default_payment_method": bad.id}})
    end = renewed["items"].data[0].current_period_end
    api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": end + 3_700})
    eventually("the payment failed", lambda: api.subscriptions.retrieve(made.id).status == "past_due")
    api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": end + 40 * 86_400})
    eventually("dunning ended", lambda: api.subscriptions.retrieve(made.id).status == "canceled")
    assert api.test_helpers.test_clocks.delete(clock.id).deleted is True


@check
def prorations():
    bigger = price_of(1900, "Prorated")
    clock = api.test_helpers.test_clocks.create({"frozen_time": 1_700_000_000})
    made = subscribe(customer_with(test_clock=clock.id), PRICE)
    item = made["items"].data[0]
    half = (item.current_period_start + item.current_period_end) // 2
    api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": half})
    eventually("half way", lambda: api.test_helpers.test_clocks.retrieve(clock.id).status == "ready")
    wish = {"items": [{"id": item.id, "price": bigger.id}], "proration_behavior": "always_invoice"}
    changed = api.subscriptions.update(made.id, {**wish, "expand": ["latest_invoice"]})
    assert [line.amount for line in changed.latest_invoice.lines.data] == [-450, 950]
    assert changed.latest_invoice.amount_paid == 500
    assert changed.latest_invoice.lines.data[0].parent.invoice_item_details.proration is True


@check
def connected_accounts():
    there = {"stripe_account": "acct_python1"}
    made = api.customers.create({"name": "theirs"}, there)
    assert api.customers.retrieve(made.id, options=there).name == "theirs"
    raises(stripe.InvalidRequestError, lambda: api.customers.retrieve(made.id))
    assert api.events.list({"type": "customer.created"}, there).data[0].account == "acct_python1"


@check
def an_older_api_version():
    old = client(stripe_version="2024-06-20").v1
    made = subscribe(customer_with(), PRICE)
    seen = old.subscriptions.retrieve(made.id, {"expand": ["latest_invoice.payment_intent"]})
    assert seen.current_period_end == made["items"].data[0].current_period_end
    assert seen.latest_invoice.payment_intent.status == "succeeded"
    assert seen.last_response.headers["stripe-version"] == "2024-06-20"


run()
