"""A webhook receiver that loses nothing and doubles nothing. README.md says how to run it, and what it answers."""

import os
from contextlib import asynccontextmanager

import arrival
from exchange import Exchange
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

import alpha_db
from alpha_db.errors import AlphaDbError, DecimalError, KeyConflict, ValueRefused, ValueTooLarge
from alpha_db.risk import RiskGuardrailService


def handle(call, guardrail, exchange, arrived):
    """From the bytes to the fill. Whoever was here before may have died on the way, so is_new ends nothing."""
    delivery = call(alpha_db.append_webhook, **arrived)
    if len(arrived["raw_body"]) > arrival.LIMIT:
        raise HTTPException(413, f"a body has {arrival.LIMIT} bytes at most")
    if not arrived["hmac_verified"]:
        raise HTTPException(401, "the signature is wrong, or the time-stamp is old")
    try:
        alert = delivery["body"]
        side = {"buy": "BUY", "sell": "SELL"}[alert["action"].lower()]
        amount = {name: alpha_db.arguments.money(name, alert[name]) for name in ("price", "quantity")}
        trade = {"symbol": alert["ticker"], "side": side, "quantity": amount["quantity"]}
        signal = {"signal_id": alert["id"], "price": amount["price"], "raw_payload": alert, **trade}
    except (AttributeError, TypeError, KeyError) as problem:
        raise HTTPException(400, delivery["body_problem"] or f"this is no alert: {problem!r}") from None
    recorded = call(alpha_db.append_signal, **signal, hmac_verified=True, delivery_id=delivery["id"])
    order = exchange.order(price=amount["price"], **trade)
    key = recorded["correlation_id"].hex  # the same for everybody who handles this signal
    was_sent = exchange.has(key)  # then it is not judged again, but recorded to its end
    if not was_sent and not (decision := call(guardrail.decide_and_record, order, correlation_id=key)):
        if decision.mode == "SAFE_MODE":  # nobody knows the limits
            raise HTTPException(503, decision.reason, {"Retry-After": "1"})
        return {"status": "REFUSED", "reason": decision.reason}
    sent = {"correlation_id": key, "client_order_id": key, "order_type": "MARKET", **trade}
    pending = call(alpha_db.append_order, **sent)
    fill = exchange.place(key, order)
    event = {"order_execution_id": pending["id"], "event_type": "FILL", "exchange_event_id": fill.trade_id}
    call(alpha_db.append_order_event, fill_quantity=order.quantity, fill_price=fill.price, **event)
    call(alpha_db.append_order, status="SUBMITTED", exchange_order_id=fill.exchange_order_id, **sent)
    return {"status": "FILLED", "client_order_id": key}


def create_app(dsn=None, secret=None, guardrail=None, exchange=None):
    """Make the application. What is not given comes from ALPHA_DB_DSN and WEBHOOK_SECRET, or is made."""
    secret = (secret or os.environ["WEBHOOK_SECRET"]).encode()
    guardrail = guardrail or RiskGuardrailService(dsn, high_water="high-water.json")
    exchange = exchange or Exchange()
    pool = alpha_db.pool(dsn, max_size=10, timeout=5, open=False)

    def call(write, *order, **values):
        for attempt in alpha_db.retrying():
            with attempt, pool.connection() as conn:
                return write(conn, *order, **values)

    @asynccontextmanager
    async def lifespan(_app):
        with guardrail, pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/webhook")
    async def webhook(request: Request):
        arrived = await arrival.read(request, secret)
        return await run_in_threadpool(handle, call, guardrail, exchange, arrived)

    @app.exception_handler(AlphaDbError)
    async def refuse(_request: Request, problem: Exception):
        if isinstance(problem, KeyConflict | ValueRefused | DecimalError | ValueTooLarge):
            return JSONResponse({"detail": str(problem)}, 409 if isinstance(problem, KeyConflict) else 400)
        return JSONResponse({"detail": "not now: send it again"}, 503, {"Retry-After": "1"})

    return app
