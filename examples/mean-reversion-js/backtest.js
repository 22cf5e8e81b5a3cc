// A backtest in Node.js: buy when the price is far below its recent mean, sell when it is back.
//
// What Longshore asks of a backtest is only this: an exported `main(id, config)`, whose value
// (awaited) becomes the result. Throw, and the run has failed with the error's text.
//
// The bars are bundled (prices.csv, made up: see make-prices.js). A decision is made at a bar's
// close and carried out at the next bar's open: nothing is traded on what is not known yet.

const fs = require('node:fs');
const path = require('node:path');

const BARS_PER_YEAR = 252;
// What the start message's `config` may say: the window in bars, how many standard deviations
// below the mean to buy and to sell, and the fee in hundredths of a percent at each side.
const DEFAULTS = { window: 20, enter: 1.5, leave: 0, feeBps: 10, cash: 10000 };

exports.main = async function main(id, config) {
  const settings = { ...DEFAULTS, ...config };
  if (!(settings.window >= 2)) throw new RangeError('window must be 2 or more');
  if (!(settings.enter > settings.leave)) throw new RangeError('enter must be above leave');

  const bars = readBars(path.join(__dirname, 'prices.csv'));
  console.log(`${id}: ${bars.length} bars from ${bars[0].date} to ${bars.at(-1).date}`, settings);
  const { equity, trades } = simulate(bars, settings);
  const result = metrics(bars, equity, trades, settings);
  console.log(`${id}: ${result.trades} trades, return ${(result.total_return * 100).toFixed(2)} %`);
  return result;
};

function readBars(file) {
  const [, ...lines] = fs.readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => {
    const [date, open, close] = line.split(',');
    return { date, open: Number(open), close: Number(close) };
  });
}

/** How many standard deviations the last of these closes lies below their mean. */
function depth(closes) {
  const spread = deviation(closes);
  return spread === 0 ? 0 : (mean(closes) - closes.at(-1)) / spread;
}

/** The equity at each close, and the return of each closed trade, fees included. */
function simulate(bars, { window, enter, leave, feeBps, cash: start }) {
  const fee = feeBps / 10000;
  const [equity, trades] = [[], []];
  let [cash, shares, cost, invest] = [start, 0, 0, false];

  const sell = (price, date) => {
    cash = shares * price * (1 - fee);
    shares = 0;
    trades.push(cash / cost - 1);
    console.log(`${date} sell at ${price.toFixed(2)}: ${(trades.at(-1) * 100).toFixed(2)} %`);
  };

  bars.forEach((bar, index) => {
    if (invest && shares === 0) {
      [cost, shares, cash] = [cash, cash / (bar.open * (1 + fee)), 0];
      console.log(`${bar.date} buy  at ${bar.open.toFixed(2)}`);
    } else if (!invest && shares > 0) {
      sell(bar.open, bar.date);
    }
    equity.push(cash + shares * bar.close);
    if (index + 1 >= window) {
      // From here on is for the next bar: it knows this bar's close.
      const now = depth(bars.slice(index + 1 - window, index + 1).map((it) => it.close));
      invest = invest ? now > leave : now > enter;
    }
  });
  if (shares > 0) {
    // What is still held at the end is sold there, so that every trade is counted.
    sell(bars.at(-1).close, bars.at(-1).date);
    equity[equity.length - 1] = cash;
  }
  return { equity, trades };
}

function metrics(bars, equity, trades, { cash }) {
  const curve = [cash, ...equity];
  const returns = equity.map((value, index) => value / curve[index] - 1);
  let [peak, drawdown] = [cash, 0];
  for (const value of curve) {
    peak = Math.max(peak, value);
    drawdown = Math.max(drawdown, 1 - value / peak);
  }
  const wins = trades.filter((it) => it > 0).length;
  return {
    trades: trades.length,
    total_return: round(curve.at(-1) / cash - 1, 6),
    max_drawdown: round(drawdown, 6),
    sharpe: round((mean(returns) / deviation(returns)) * Math.sqrt(BARS_PER_YEAR), 4), // NaN becomes null
    win_rate: round(wins / trades.length, 4),
    final_equity: round(curve.at(-1), 2),
    equity_tail: bars.map(({ date }, index) => ({ date, equity: round(equity[index], 2) })).slice(-10),
  };
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function deviation(values) {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

function round(value, digits) {
  return Number(value.toFixed(digits));
}
